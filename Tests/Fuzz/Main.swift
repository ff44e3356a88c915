import CLibFuzzer
import Foundation

/// Runs a fuzz target with libFuzzer: `FUZZ_TARGET=json Fuzz corpus/json -max_total_time=60`.
///
/// The target is in the environment, because libFuzzer starts the program again with its options alone.
@main
enum Main {
  private static let target = FuzzTarget.all.first { $0.name == ProcessInfo.processInfo.environment["FUZZ_TARGET"] }

  static func main() {
    guard target != nil else {
      print("FUZZ_TARGET must be one of \(FuzzTarget.all.map(\.name).joined(separator: ", ")).")
      exit(64)
    }
    var count = CommandLine.argc
    var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
    let status = LLVMFuzzerRunDriver(&count, &arguments) { bytes, size in
      do {
        try Main.target?.run(Array(UnsafeBufferPointer(start: bytes, count: size)))
        return 0
      } catch {
        fatalError("\(error)")
      }
    }
    exit(status)
  }
}
