public import Foundation

/// `AFTER_RESET`: what a store changes in the site's tables in the transaction that sets a password, so that tokens, sessions and
/// the like end with the old password, or not at all.
public struct AfterReset: Sendable, Equatable {
  /// The changes, in the order in which they are made.
  public var entries: [Entry]
  /// The zone of times in columns that hold none: UTC with `USE_TZ`, otherwise the site's `TIME_ZONE`.
  public var timeZone: TimeZone

  /// Creates a list of changes.
  public init(_ entries: [Entry] = [], timeZone: TimeZone = .gmt) { (self.entries, self.timeZone) = (entries, timeZone) }

  /// One entry of the list.
  public enum Entry: Sendable, Equatable {
    /// The changes for a well-known package, in its tables.
    case preset(Preset)
    /// New values for columns of the user's row.
    case set([Assignment])
    /// One statement of SQL with the parameter `:user_id`.
    case sql(String)
  }

  /// A new value for a column of the users table.
  public struct Assignment: Sendable, Equatable {
    public var column: String
    public var value: Value

    public init(column: String, value: Value) { (self.column, self.value) = (column, value) }
  }

  /// What a column gets.
  public enum Value: Sendable, Equatable {
    /// A text of this many random characters, of which each is one of 64 that URLs may contain.
    case randomText(Int)
    /// The time of the reset.
    case now
    /// A random UUID, as the column holds one.
    case uuid
    /// One more than before; NULL counts as 0.
    case increment
    /// The same value for each user.
    case constant(ActiveValues.Value)
  }
}

extension AfterReset.Entry {
  /// The columns of the users table that the entry sets.
  public var assignments: [AfterReset.Assignment] {
    switch self {
    case .set(let assignments): assignments
    case .preset(let preset): preset.assignments
    case .sql: []
    }
  }

  /// The statements on other tables than the users table.
  public var statements: [AfterReset.Statement] {
    switch self {
    case .preset(let preset): preset.statements
    case .sql(let text): [AfterReset.Statement(text)]
    case .set: []
    }
  }
}

extension AfterReset {
  private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")

  /// Returns a text of random characters from the system's generator.
  package static func randomText(length: Int) -> String {
    String((0..<length).map { _ in alphabet[Int.random(in: alphabet.indices)] })
  }
}
