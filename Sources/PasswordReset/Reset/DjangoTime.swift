public import Foundation

/// A time as Django reads it from a text (`parse_datetime`), and the texts that Django makes of a time.
///
/// `Date` is not used, because it is a binary fraction that cannot hold Django's microseconds in every year.
public struct DjangoTime: Sendable, Equatable {
  /// What Django makes of a text.
  public enum Reading: Sendable, Equatable {
    case time(DjangoTime)
    /// Django does not recognize a time in it, and takes the value for none.
    case noTime
    /// It has the form of a time that does not exist, such as 30 February. Django cannot read its row.
    case impossible
  }

  private var year, month, day: Int
  private var hour = 0
  private var minute = 0
  private var second = 0
  private var microsecond = 0
  /// Seconds east of UTC, or `nil` if the text has no zone; the time is then in UTC.
  private var offset: Int?

  /// Reads a text.
  public static func read(_ text: String) -> Reading {
    var scanner = TimeScanner(text)
    guard let time = Self(&scanner) else { return .noTime }
    // Python's `fromisoformat` rejects a time that does not exist, and Django fails if its own pattern matches.
    return time.exists ? .time(time) : scanner.isDjangos ? .impossible : .noTime
  }

  private init?(_ scanner: inout TimeScanner) {
    guard let date = scanner.date() else { return nil }
    (year, month, day) = date
    if !scanner.isAtEnd {
      guard let time = scanner.time() else { return nil }
      (hour, minute, second, microsecond) = time
      guard let zone = scanner.zone() else { return nil }
      offset = zone
    } else {
      scanner.isDjangos = false
    }
    guard scanner.isAtEnd, scanner.isPythons || scanner.isDjangos else { return nil }
  }

  private var exists: Bool {
    let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    let days = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    return year > 0 && (1...12).contains(month) && (1...days[(month + 11) % 12]).contains(day) && hour < 24 && minute < 60 && second < 60
      && abs(offset ?? 0) < 86400
  }

  /// The clock time without its zone, to the second, which is what Django makes tokens of.
  public var clock: String {
    // A link check needs it, and interpolation would take a percent of that.
    var text: [UInt8] = []
    text.reserveCapacity(19)
    func append(_ number: Int, _ separator: String) {
      text.append(UInt8(ascii: "0") + UInt8(number / 10))
      text.append(UInt8(ascii: "0") + UInt8(number % 10))
      text += separator.utf8
    }
    append(year / 100, "")
    append(year % 100, "-")
    append(month, "-")
    append(day, " ")
    append(hour, ":")
    append(minute, ":")
    append(second, "")
    return String(decoding: text, as: UTF8.self)
  }

  /// The form that Django stores in SQLite, in UTC: `2026-11-20 22:09:52.123456`. `nil` if it is not in the years 1 to
  /// 9999.
  public var stored: String? {
    let fraction = microsecond == 0 ? "" : ".\(padded(microsecond, 6))"
    guard let offset, offset != 0 else { return clock + fraction }
    let format = Date.ISO8601FormatStyle(dateTimeSeparator: .space, timeZone: .gmt)
    guard let date = try? Date(clock + "Z", strategy: format), case let utc = date.addingTimeInterval(-Double(offset)).formatted(format),
      utc.count == 20, !utc.hasPrefix("0000")
    else { return nil }
    return utc.dropLast() + fraction
  }

  /// The ISO 8601 form in UTC, which `dumpdata` writes.
  public var iso: String? { stored.map { $0.replacingOccurrences(of: " ", with: "T") + "Z" } }

  /// Returns the stored form of a text in a file, or `nil` if Django's `DateTimeField` does not accept the text.
  public static func stored(_ text: String) -> String? {
    // Django also accepts a date with a month or day of one digit, but only in a file.
    for text in [text, text + " 00:00"] { if case .time(let time) = read(text) { return time.stored } }
    return nil
  }

  /// Returns the ISO 8601 form of a stored text, or `nil` if it is not a time.
  public static func iso(_ text: String) -> String? { if case .time(let time) = read(text) { time.iso } else { nil } }

  /// Returns the stored form of a date, to the millisecond.
  public static func text(of date: Date) -> String {
    let text = date.ISO8601Format(.init(includingFractionalSeconds: true, timeZone: .gmt))
    return text.replacingOccurrences(of: "T", with: " ").replacingOccurrences(of: "Z", with: "000")
  }

  /// Returns the text that Django stores in SQLite for a time, or for its day, in a zone.
  package static func text(of date: Date, in zone: TimeZone, isDate: Bool) -> String {
    let day = Date.ISO8601FormatStyle(dateTimeSeparator: .space, timeZone: zone).year().month().day()
    return isDate ? date.formatted(day) : date.formatted(day.time(includingFractionalSeconds: true)) + "000"
  }
}

private func padded(_ number: Int, _ width: Int) -> String {
  let digits = String(number)
  return String(repeating: "0", count: max(0, width - digits.count)) + digits
}

/// Scans the two forms of a time that Django accepts. A regular expression here took most of an import's time.
private struct TimeScanner {
  private var rest: ArraySlice<UInt8>
  /// Whether the text so far has the form of `datetime_re` in Django's `dateparse`.
  var isDjangos = true
  /// Whether the text so far has the form that Python's `datetime.fromisoformat` reads, except for dates by week.
  private(set) var isPythons = true

  // No time is longer than 64 bytes.
  init(_ text: String) { rest = Array(text.utf8.prefix(64))[...] }

  var isAtEnd: Bool { rest.isEmpty }

  mutating func date() -> (Int, Int, Int)? {
    guard let year = number(4...4) else { return nil }
    guard takeAny("-") else {
      isDjangos = false
      guard let month = number(2...2), let day = number(2...2) else { return nil }
      return (year, month, day)
    }
    guard let month = number(1...2), takeAny("-"), let day = number(1...2) else { return nil }
    return (year, month, day)
  }

  mutating func time() -> (Int, Int, Int, Int)? {
    // Python accepts any separator.
    if !takeAny("T ") { (isDjangos, _) = (false, rest.popFirst()) }
    guard let hour = number(1...2) else { return nil }
    var (minute, second) = (0, 0)
    if takeAny(":") {
      guard let value = number(1...2) else { return nil }
      minute = value
      if takeAny(":") {
        guard let value = number(1...2) else { return nil }
        second = value
      } else if rest.first == UInt8(ascii: ".") || rest.first == UInt8(ascii: ",") {
        isDjangos = false
      }
    } else {
      isDjangos = false
      minute = number(2...2) ?? 0
      second = number(2...2) ?? 0
    }
    guard takeAny(".,") else { return (hour, minute, second, 0) }
    let digits = rest.prefix { Self.isDigit($0) }
    rest = rest.dropFirst(digits.count)
    if digits.count > 12 { isDjangos = false }
    let microsecond = (min(digits.count, 6)..<6).reduce(Self.value(digits.prefix(6))) { value, _ in value * 10 }
    return digits.isEmpty ? nil : (hour, minute, second, microsecond)
  }

  /// Returns the offset in seconds, `.some(nil)` if there is no zone, and `nil` if there is something else.
  mutating func zone() -> Int?? {
    while takeAny(" \t\n\r") { isPythons = false }
    if isAtEnd { return .some(nil) }
    if takeAny("Z") { return 0 }
    let isWest = rest.first == UInt8(ascii: "-")
    guard takeAny("+-"), let hours = number(2...2) else { return nil }
    var seconds = hours * 3600
    for unit in [60, 1] {
      let hasColon = takeAny(":")
      guard let number = number(2...2) else { if hasColon { return nil } else { break } }
      if unit == 1 { isDjangos = false }
      seconds += number * unit
    }
    return isWest ? -seconds : seconds
  }

  /// Takes up to the upper bound of digits. Fewer than two digits are only in Django's pattern.
  private mutating func number(_ count: ClosedRange<Int>) -> Int? {
    let digits = rest.prefix(count.upperBound).prefix { Self.isDigit($0) }
    guard count.contains(digits.count) else { return nil }
    if digits.count == 1 { isPythons = false }
    rest = rest.dropFirst(digits.count)
    return Self.value(digits)
  }

  private static func value(_ digits: ArraySlice<UInt8>) -> Int { digits.reduce(0) { $0 * 10 + Int($1 - 0x30) } }

  private mutating func takeAny(_ characters: String) -> Bool {
    guard let first = rest.first, characters.utf8.contains(first) else { return false }
    rest = rest.dropFirst()
    return true
  }

  private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
}
