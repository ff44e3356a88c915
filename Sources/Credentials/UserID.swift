/// A user's primary key as its canonical text, which is Django's `str(pk)`: `42`, or a UUID in lowercase with hyphens.
///
/// Tokens and `uidb64` are made from this text. Only a store knows the type of the column.
public struct UserID: Sendable, Hashable, Encodable, CustomStringConvertible {
  /// The canonical text of the key.
  public let text: String

  /// Wraps a key's text, which must be canonical: no two texts may name the same user.
  public init(_ text: String) { self.text = text }

  /// Creates the key of a user with an integer primary key.
  public init(_ number: Int64) { text = String(number) }

  /// The key as an integer, or `nil` unless the text is exactly how that integer is printed.
  public var integer: Int64? { Int64(text).flatMap { String($0) == text ? $0 : nil } }

  public var description: String { text }

  /// Compares the bytes. Swift takes two spellings of a character for the same text, but they are different keys.
  public static func == (first: Self, second: Self) -> Bool { first.text.utf8.elementsEqual(second.text.utf8) }

  public func hash(into hasher: inout Hasher) {
    var text = text
    text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
  }

  /// Encodes the key as a number if it is an integer, like Django's `dumpdata` does, otherwise as text.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if let integer { try container.encode(integer) } else { try container.encode(text) }
  }
}
