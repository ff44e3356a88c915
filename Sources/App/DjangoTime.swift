import Foundation

/// Django's two formats for times in UTC: the one in SQLite, and ISO 8601 everywhere else.
enum DjangoTime {
  /// Converts `2026-11-20T22:09:52.123456Z` to `2026-11-20 22:09:52.123456`. Returns `nil` if the text is not a time in UTC.
  static func stored(_ text: String) -> String? {
    // The parser takes 30 February for 2 March, so compare the result with the input.
    guard let (day, time) = parts(of: text), day.prefix(4) != "0000",
      case let moment = "\(day)T\(time.prefix(8))Z", (try? Date(moment, strategy: .iso8601))?.ISO8601Format() == moment
    else { return nil }
    return "\(day) \(time)"
  }

  /// Converts the other way. Returns other texts unchanged.
  static func iso(_ stored: String) -> String { parts(of: stored).map { "\($0)T\($1)Z" } ?? stored }

  /// Splits off the day, and the time with its fraction. A regular expression would take most of the time of an import.
  private static func parts(of text: String) -> (day: Substring, time: Substring)? {
    let zone = ["Z", "+00:00"].first { text.utf8.count > 19 && text.hasSuffix($0) } ?? ""
    let moment = text.utf8.dropLast(zone.utf8.count)
    let shape = moment.map { (0x30...0x39).contains($0) ? UInt8(ascii: "0") : $0 }
    let fraction = shape.dropFirst(19)
    guard shape.starts(with: "0000-00-00 00:00:00".utf8) || shape.starts(with: "0000-00-00T00:00:00".utf8),
      fraction.isEmpty || fraction.first == UInt8(ascii: ".") && (2...7).contains(fraction.count) && fraction.dropFirst().allSatisfy({ $0 == 0x30 })
    else { return nil }
    return (Substring(moment.prefix(10)), Substring(moment.dropFirst(11)))
  }
}
