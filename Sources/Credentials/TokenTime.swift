public import Foundation

/// The time in a token: whole seconds since 2001-01-01 on the wall clock of the site's time zone.
public struct TokenTime: Sendable, Hashable, Comparable {
  /// The time from which Django counts, 2001-01-01, in Unix seconds.
  static let epoch = 978_307_200

  /// The seconds since 2001-01-01.
  public var seconds: Int

  /// Creates a time from its seconds since 2001-01-01.
  public init(seconds: Int) { self.seconds = seconds }

  /// Creates the time that a wall clock in UTC shows.
  public init(at date: Date) { seconds = Int(date.timeIntervalSince1970.rounded(.down)) - Self.epoch }

  /// Reads the time of a token, or returns `nil` if the text has not the form of one.
  public init?(of token: String) {
    let parts = Array(token.utf8).split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
    // Django refuses base-36 numbers of more than 13 digits, which also bounds the work here.
    guard parts.count == 2, (1...13).contains(parts[0].count), let seconds = Int(String(decoding: parts[0], as: UTF8.self), radix: 36), seconds >= 0
    else { return nil }
    self.seconds = seconds
  }

  /// Creates the time that ``milliseconds`` stands for, or returns `nil` if it is before 2001.
  package init?(milliseconds: Int64) {
    guard let seconds = Int(exactly: milliseconds / 1000), seconds >= Self.epoch else { return nil }
    self.seconds = seconds - Self.epoch
  }

  /// The time as a store keeps it: the milliseconds from 1970 until the wall clock's time, without regard to the zone.
  package var milliseconds: Int64 { (Int64(clamping: min(seconds, 1 << 42)) + Int64(Self.epoch)) * 1000 }

  public static func < (first: Self, second: Self) -> Bool { first.seconds < second.seconds }
}
