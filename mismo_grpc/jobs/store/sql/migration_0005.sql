-- The boot id under which an unfinished upload's file was last written; after a reboot only synced bytes count.

ALTER TABLE uploads ADD COLUMN boot TEXT NOT NULL DEFAULT '';
