import Foundation
import Synchronization
import Text

/// Makes the ID that names a request in its response, in the log and in the audit. It is random, so it reveals nothing.
enum RequestID {
  /// Numbers that are not used yet. One system call per request showed in a profile.
  private static let unused = Mutex<[UInt128]>([])
  /// `getentropy` returns at most 256 bytes.
  private static let batch = 16

  /// Returns 32 hexadecimal digits.
  static func make() -> String {
    let number = unused.withLock { numbers in
      if numbers.isEmpty { numbers = random() }
      return numbers.removeLast()
    }
    return withUnsafeBytes(of: number) { hexadecimal(Array($0)) }
  }

  private static func random() -> [UInt128] {
    var numbers = [UInt128](repeating: 0, count: batch)
    let isFilled = numbers.withUnsafeMutableBytes { getentropy($0.baseAddress, $0.count) == 0 }
    return isFilled ? numbers : numbers.map { _ in .random(in: .min ... .max) }
  }
}
