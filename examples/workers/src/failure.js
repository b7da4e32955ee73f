/** A failure that the user is told in one message, without a stack trace. */
export class Failure extends Error {
  name = "Failure";
}

/** A wrong command line or environment; the message names the option. */
export class UsageFailure extends Failure {
  name = "UsageFailure";
}

/**
 * What went wrong, in one line. Node's fetch hides the reason of a broken connection in `cause`.
 *
 * @param {unknown} error
 */
export function reasonOf(error) {
  const cause = error?.cause ?? error;
  return cause?.message || cause?.code || String(cause);
}
