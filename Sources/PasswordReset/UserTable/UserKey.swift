public import Credentials
import Foundation

/// The kind of the users table's key. It decides which texts are keys, and how the column holds them.
public enum UserKey: Sendable, Equatable {
  /// A whole number of any width.
  case integer
  /// A UUID in a column of that type, or as 36 characters.
  case uuid
  /// A UUID as 32 hexadecimal digits, as Django's `UUIDField` stores it in SQLite and MySQL.
  case uuidDigits
  /// Text of up to 255 bytes.
  case text

  private static let maximumLength = 255

  /// Returns the key that `text` names, or `nil` unless it is the canonical text of a key of this kind, as Django's
  /// `str(pk)` prints it.
  public func id(_ text: String) -> UserID? {
    let id = UserID(text)
    switch self {
    case .integer: return id.integer.map { UserID($0) }
    case .uuid, .uuidDigits: return UUID(uuidString: text)?.uuidString.lowercased() == text ? id : nil
    case .text:
      let isPlain = !text.isEmpty && text.utf8.count <= Self.maximumLength && text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
      return isPlain ? id : nil
    }
  }

  /// Returns the text that the column holds for a key of this kind.
  public func stored(_ id: UserID) -> String { self == .uuidDigits ? id.text.replacing("-", with: "") : id.text }

  /// Returns the key for what the column holds, or `nil` if that is not a key of this kind.
  public func id(stored text: String) -> UserID? {
    switch self {
    case .integer: return UserID(text).integer.map { UserID($0) }
    case .uuid, .text: return id(text)
    case .uuidDigits:
      guard text.utf8.count == 32 else { return nil }
      var dashed = text
      for position in [20, 16, 12, 8] {
        dashed.insert("-", at: dashed.index(dashed.startIndex, offsetBy: position, limitedBy: dashed.endIndex) ?? dashed.endIndex)
      }
      return id(dashed)
    }
  }

  /// Returns a key for a new user, or `nil` if only the database or the operator can choose one.
  public func newID() -> UserID? {
    switch self {
    case .integer, .text: nil
    case .uuid, .uuidDigits: UserID(UUID().uuidString.lowercased())
    }
  }

  /// What a message calls a key of this kind, with an article.
  public var noun: String {
    switch self {
    case .integer: "a whole number"
    case .uuid, .uuidDigits: "a UUID"
    case .text: "a text of at most \(Self.maximumLength) bytes"
    }
  }
}
