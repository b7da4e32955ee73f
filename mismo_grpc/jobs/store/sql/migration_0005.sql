-- The boot in which an unfinished upload's file was last written: after another one, only what was synced counts.

ALTER TABLE uploads ADD COLUMN boot TEXT NOT NULL DEFAULT '';
