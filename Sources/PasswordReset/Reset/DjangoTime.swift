public import Foundation

/// Django's two texts for a time in UTC: the stored form `2026-11-20 22:09:52.123456`, which `str()` prints and SQLite
/// holds, and ISO 8601, which `dumpdata` writes.
public enum DjangoTime {
  /// Returns the stored form of a date, to the millisecond.
  public static func text(of date: Date) -> String {
    let text = date.ISO8601Format(.init(includingFractionalSeconds: true, timeZone: .gmt))
    return text.replacingOccurrences(of: "T", with: " ").replacingOccurrences(of: "Z", with: "000")
  }

  /// Returns `2026-11-20 22:09:52.123456` for `2026-11-20T22:09:52.123456Z`, or `nil` if the text is not a time in UTC.
  public static func stored(_ text: String) -> String? {
    // Foundation's parser takes 30 February for 2 March, so compare its result with the text.
    guard let (day, time) = parts(of: text), day.prefix(4) != "0000",
      case let moment = "\(day)T\(time.prefix(8))Z", (try? Date(moment, strategy: .iso8601))?.ISO8601Format() == moment
    else { return nil }
    return "\(day) \(time)"
  }

  /// Returns the ISO 8601 form of a stored text. A text that is not a time stays as it is.
  public static func iso(_ stored: String) -> String { parts(of: stored).map { "\($0)T\($1)Z" } ?? stored }

  /// Splits a text into the day and the time, with its fraction if it has one. A regular expression here took most of
  /// an import's time.
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
