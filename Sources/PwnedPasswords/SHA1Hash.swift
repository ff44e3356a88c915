import Crypto

/// The SHA-1 hash of a password, by which lists of leaked passwords are sorted.
///
/// SHA-1 protects nothing here: it is the form in which the lists are published.
public struct SHA1Hash: Hashable, Comparable, Sendable {
  /// The number of hexadecimal digits of a hash.
  static let digitCount = 40

  /// The first 64 bits.
  let high: UInt64
  private let middle: UInt64
  private let low: UInt32

  /// Hashes the UTF-8 of a password, which is neither stripped nor normalized.
  public init(of password: String) {
    var digits = Digits()
    for byte in Insecure.SHA1.hash(data: Array(password.utf8)) {
      digits.append(byte >> 4)
      digits.append(byte & 15)
    }
    self.init(digits)
  }

  private init(_ digits: Digits) { (high, middle, low) = (digits.high, digits.middle, digits.low) }

  /// Reads a hash from hexadecimal digits in either case, or returns `nil` if another character is among them.
  /// - Parameters:
  ///   - prefix: The digits that the text lacks, because they are the name of its file.
  ///   - range: The place of the other digits in `text`.
  init?(prefix: [UInt8] = [], _ text: [UInt8], _ range: Range<Int>) {
    guard prefix.count + range.count == Self.digitCount else { return nil }
    var digits = Digits()
    for byte in prefix {
      guard let value = hexValue(byte) else { return nil }
      digits.append(value)
    }
    for index in range {
      guard let value = hexValue(text[index]) else { return nil }
      digits.append(value)
    }
    self.init(digits)
  }

  /// The hash as uppercase hexadecimal digits.
  var hexadecimal: String {
    Self.padded(String(high, radix: 16, uppercase: true), 16) + Self.padded(String(middle, radix: 16, uppercase: true), 16)
      + Self.padded(String(low, radix: 16, uppercase: true), 8)
  }

  private static func padded(_ digits: String, _ width: Int) -> String { String(repeating: "0", count: width - digits.count) + digits }

  /// Orders hashes like their hexadecimal digits.
  public static func < (a: SHA1Hash, b: SHA1Hash) -> Bool {
    if a.high != b.high { return a.high < b.high }
    return a.middle != b.middle ? a.middle < b.middle : a.low < b.low
  }

  /// Collects the digits of a hash.
  private struct Digits {
    private(set) var high: UInt64 = 0
    private(set) var middle: UInt64 = 0
    private(set) var low: UInt32 = 0
    private var count = 0

    mutating func append(_ digit: UInt8) {
      if count < 16 {
        high = high << 4 | UInt64(digit)
      } else if count < 32 {
        middle = middle << 4 | UInt64(digit)
      } else {
        low = low << 4 | UInt32(digit)
      }
      count += 1
    }
  }
}

/// Returns the value of a hexadecimal digit in either case, or `nil` for another character.
private func hexValue(_ byte: UInt8) -> UInt8? {
  switch byte {
  case 0x30...0x39: byte - 0x30
  case 0x41...0x46: byte - 0x41 + 10
  case 0x61...0x66: byte - 0x61 + 10
  default: nil
  }
}
