/** The library of the browser client, clients/web, as it is vendored. */

export { errorOf, JobsWatch, JobWatch, MismoClient, StemPlayer, uploadFile, watchWaveform } from "../../vendor/mismo-client.js";
