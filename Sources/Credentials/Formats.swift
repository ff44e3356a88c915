import Foundation

// Texts that every request takes, made without Foundation's formatters, which showed in each profile of a request.

/// Two digits for each byte, in lower case.
package func hexadecimal(_ bytes: [UInt8]) -> String {
  String(unsafeUninitializedCapacity: 2 * bytes.count) { text in
    for (index, byte) in bytes.enumerated() {
      text[2 * index] = hexDigit(byte >> 4)
      text[2 * index + 1] = hexDigit(byte & 15)
    }
    return 2 * bytes.count
  }
}

/// - Parameter half: below 16.
func hexDigit(_ half: UInt8) -> UInt8 { half < 10 ? UInt8(ascii: "0") + half : UInt8(ascii: "a") + half - 10 }

extension Date {
  /// `2026-11-20T22:09:52Z` (RFC 3339), or with milliseconds.
  package func internetTime(withMilliseconds: Bool = false) -> String {
    let seconds = timeIntervalSince1970.rounded(.down)
    let rest = Int((timeIntervalSince1970 - seconds) * 1000)
    var time = time_t(seconds)
    var parts = tm()
    gmtime_r(&time, &parts)
    return String(unsafeUninitializedCapacity: 32) { text in
      var length = 0
      func put(_ byte: UInt8) {
        text[length] = byte
        length += 1
      }
      func put(_ number: Int, digits: Int, then mark: Unicode.Scalar) {
        var place = digits == 4 ? 1000 : digits == 3 ? 100 : 10
        while place > 0 {
          put(UInt8(ascii: "0") + UInt8(number / place % 10))
          place /= 10
        }
        put(UInt8(ascii: mark))
      }
      put(min(max(Int(parts.tm_year) + 1900, 0), 9999), digits: 4, then: "-")
      put(Int(parts.tm_mon) + 1, digits: 2, then: "-")
      put(Int(parts.tm_mday), digits: 2, then: "T")
      put(Int(parts.tm_hour), digits: 2, then: ":")
      put(Int(parts.tm_min), digits: 2, then: ":")
      put(Int(parts.tm_sec), digits: 2, then: withMilliseconds ? "." : "Z")
      if withMilliseconds { put(rest, digits: 3, then: "Z") }
      return length
    }
  }
}
