import Foundation
import Synchronization
import Text

/// What names a request in its reply, in the log and in the audit. Random: it counts nothing and tells nothing.
enum RequestID {
  /// The kernel is asked for many at once: a call for each showed in the profile of a request.
  private static let drawn = Mutex<[UInt128]>([])
  /// 256 bytes: no more are given at once.
  private static let batch = 16

  /// 32 hexadecimal digits.
  static func make() -> String {
    let number = drawn.withLock { numbers in
      if numbers.isEmpty { numbers = draw() }
      return numbers.removeLast()
    }
    return withUnsafeBytes(of: number) { hexadecimal(Array($0)) }
  }

  private static func draw() -> [UInt128] {
    var numbers = [UInt128](repeating: 0, count: batch)
    let isDrawn = numbers.withUnsafeMutableBytes { getentropy($0.baseAddress, $0.count) == 0 }
    return isDrawn ? numbers : numbers.map { _ in .random(in: .min ... .max) }
  }
}
