// `stdout` is a variable in C, which no one changes.
@preconcurrency import Glibc

/// Makes the process exit with 1 if standard output did not receive everything that was printed, `--help` included.
///
/// `print` reports no error, but C's stream keeps it until the end.
func failIfResultIsLost() {
  atexit {
    guard fflush(stdout) != 0 || ferror(stdout) != 0 else { return }
    printError("Cannot write the result to standard output.")
    _exit(1)
  }
}
