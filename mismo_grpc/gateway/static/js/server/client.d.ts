// For the type check (make test-page): the types of the vendored library are those of its source.
export { errorOf, JobsWatch, JobWatch, MismoClient, StemPlayer, uploadFile, watchWaveform } from "../../../../../clients/web/src/index.js";
