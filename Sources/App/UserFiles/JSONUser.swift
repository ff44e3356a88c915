import Foundation

/// A user in JSON: the members of the user, or an object with the model, the key and the members, as Django's `dumpdata` writes it.
struct JSONUser: Decodable {
  private enum CodingKeys: CodingKey {
    case model, pk, fields
  }

  private struct Ignored: Decodable {
    init(from decoder: any Decoder) {}
  }

  /// The names of all members. Django dumps the last two, which are not columns of the row.
  private static let known = Set(UserDocument.CodingKeys.allCases.map(\.rawValue) + ["groups", "user_permissions"])

  /// The user, or `nil` if the object belongs to another model. A faulty object must not end the decoding of an array.
  let result: Result<UserDocument?, UserDocument.Fault>

  init(line: [UInt8]) {
    self = (try? JSONDecoder().decode(Self.self, from: Data(line))) ?? Self(.failure(.init(reason: "this is not a JSON object")))
  }

  init(from decoder: any Decoder) {
    do {
      self.init(.success(try Self.document(from: decoder)))
    } catch DecodingError.typeMismatch(_, let context) {
      let member = context.codingPath.last { $0.intValue == nil }?.stringValue ?? "the object"
      self.init(.failure(.init(reason: "\(member) has the wrong type")))
    } catch DecodingError.keyNotFound(let key, _) {
      self.init(.failure(.init(reason: "\(key.stringValue) is missing")))
    } catch let fault as UserDocument.Fault {
      self.init(.failure(fault))
    } catch {
      self.init(.failure(.init(reason: "this is not a JSON object, or a number in it is out of range")))
    }
  }

  private init(_ result: Result<UserDocument?, UserDocument.Fault>) { self.result = result }

  private static func document(from decoder: any Decoder) throws -> UserDocument? {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    guard container.contains(.model) else { return try fields(from: decoder) }
    guard try container.decode(String.self, forKey: .model) == "auth.user" else { return nil }
    guard container.contains(.fields) else { throw UserDocument.Fault(reason: "fields is missing") }
    let key = try container.decodeIfPresent(Int64.self, forKey: .pk)
    var user = try fields(from: container.superDecoder(forKey: .fields))
    user.id = key
    return user
  }

  /// Refuses unknown members, so that a typing error in a name does not look like a missing value.
  private static func fields(from decoder: any Decoder) throws -> UserDocument {
    let names = Set(try decoder.singleValueContainer().decode([String: Ignored].self).keys)
    // The name comes from the file, so only a part of it is shown.
    if let unknown = names.subtracting(known).min() { throw UserDocument.Fault(reason: "there is no member \(unknown.prefix(40).debugDescription)") }
    return try UserDocument(from: decoder)
  }
}
