// `stdout` is a variable in C, which no one changes.
@preconcurrency import Glibc

/// Makes the process exit with 1 if standard output did not receive everything that was printed, `--help` included. A command
/// that failed keeps its status.
///
/// `print` reports no error, but C's stream keeps it until the end.
func failIfResultIsLost() {
  // Unlike `atexit`, it passes on the status.
  on_exit(
    { status, _ in
      guard fflush(stdout) != 0 || ferror(stdout) != 0 else { return }
      printError("Cannot write the result to standard output.")
      _exit(status == 0 ? 1 : status)
    }, nil)
}
