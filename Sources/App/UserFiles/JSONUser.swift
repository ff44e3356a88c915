import Foundation
import PasswordReset

/// A user in JSON: the members of the user, or an object with the model, the key and the members, as Django's `dumpdata` writes it.
struct JSONUser: Decodable {
  private enum CodingKeys: CodingKey {
    case model, pk, fields
  }

  /// A member's value as text, as Django's fields convert it.
  private enum Value: Decodable {
    case null, text(String), other

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if container.decodeNil() {
        self = .null
      } else if let text = try? container.decode(String.self) {
        self = .text(text)
      } else if let flag = try? container.decode(Bool.self) {
        self = .text(String(flag))
      } else {
        self = (try? container.decode(Int64.self)).map { .text(String($0)) } ?? .other
      }
    }
  }

  /// The user, or `nil` if the object belongs to another model. A faulty object must not end the decoding of an array.
  let result: Result<UserDocument?, UserDocument.Fault>

  init(line: [UInt8]) {
    self = (try? JSONDecoder().decode(Self.self, from: Data(line))) ?? Self(.failure(.init(reason: "this is not a JSON object on one line")))
  }

  init(from decoder: any Decoder) {
    do {
      self.init(.success(try Self.document(from: decoder)))
    } catch let fault as UserDocument.Fault {
      self.init(.failure(fault))
    } catch {
      self.init(.failure(.init(reason: "this is not a JSON object, or one of its members is not what dumpdata writes")))
    }
  }

  private init(_ result: Result<UserDocument?, UserDocument.Fault>) { self.result = result }

  private static func document(from decoder: any Decoder) throws -> UserDocument? {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    guard container.contains(.model) else { return try UserDocument(values(from: decoder)) }
    guard try container.decode(String.self, forKey: .model).lowercased() == "auth.user" else { return nil }
    guard container.contains(.fields) else { throw UserDocument.Fault(reason: "fields is missing") }
    var values = try values(from: container.superDecoder(forKey: .fields))
    if let key = try container.decodeIfPresent(Value.self, forKey: .pk) {
      guard case .text(let text) = key else { throw UserDocument.Fault(reason: "pk has the wrong type") }
      values[.id] = text
    }
    return UserDocument(values)
  }

  /// Refuses unknown members, so that a typing error in a name does not look like a missing value.
  private static func values(from decoder: any Decoder) throws -> [UserColumn: String] {
    var values: [UserColumn: String] = [:]
    for (name, value) in try decoder.singleValueContainer().decode([String: Value].self) where !UserColumn.ignored.contains(name) {
      guard let column = UserColumn(rawValue: name) else { throw UserDocument.Fault(reason: UserColumn.unknown(name)) }
      switch value {
      case .null: continue
      case .text(let text): values[column] = text
      case .other: throw UserDocument.Fault(reason: "\(name) has the wrong type")
      }
    }
    return values
  }
}
