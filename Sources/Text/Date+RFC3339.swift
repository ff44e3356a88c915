package import Foundation

extension Date {
  private static let format: StaticString = "%Y-%m-%dT%H:%M:%S"

  /// Returns the date in UTC as RFC 3339 text, `2026-11-20T22:09:52Z`, or with milliseconds,
  /// `2026-11-20T22:09:52.123Z`.
  ///
  /// The method calls `gmtime_r` and `strftime`, because every response and log line needs it and Foundation's
  /// formatters are slower.
  package func rfc3339(withMilliseconds: Bool = false) -> String {
    let seconds = timeIntervalSince1970.rounded(.down)
    var time = time_t(min(max(seconds, -62_167_219_200), 253_402_300_799))
    var parts = tm()
    gmtime_r(&time, &parts)
    return String(unsafeUninitializedCapacity: 32) { text in
      var count = strftime(text.baseAddress, text.count, Self.format.utf8Start, &parts)
      func append(_ byte: UInt8) {
        text[count] = byte
        count += 1
      }
      if withMilliseconds {
        let milliseconds = Int((timeIntervalSince1970 - seconds) * 1000)
        append(UInt8(ascii: "."))
        append(UInt8(ascii: "0") + UInt8(milliseconds / 100))
        append(UInt8(ascii: "0") + UInt8(milliseconds / 10 % 10))
        append(UInt8(ascii: "0") + UInt8(milliseconds % 10))
      }
      append(UInt8(ascii: "Z"))
      return count
    }
  }
}
