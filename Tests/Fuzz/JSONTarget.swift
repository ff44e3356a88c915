import Foundation
@testable import HTTPAPI
@testable import PasswordReset

extension FuzzTarget {
  /// The bodies of requests. ``StrictJSON`` accepts nothing that Foundation refuses, and means the same by it.
  static let json = FuzzTarget("json") { bytes in
    let value: StrictJSON.Value
    do throws(StrictJSON.Malformed) {
      value = try StrictJSON.parse(bytes)
    } catch {
      try expect((0...bytes.count).contains(error.offset), "the offset of an error is in the text: \(error)")
      return
    }
    // Foundation refuses numbers that a Double cannot hold.
    guard !hasLargeNumber(bytes) else { return }
    let other = try JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)
    try compare(value, other)
    let again = try StrictJSON.parse(JSONSerialization.data(withJSONObject: other, options: .fragmentsAllowed))
    try compare(again, other)
    if case .object(let members) = value { try checkForm(members) }
  }

  private static func hasLargeNumber(_ bytes: [UInt8]) -> Bool {
    let hasExponent = zip(bytes, bytes.dropFirst()).contains { (0x30...0x39).contains($0) && $1 | 0x20 == UInt8(ascii: "e") }
    return hasExponent || bytes.split(whereSeparator: { !(0x30...0x39).contains($0) }).contains { $0.count > 300 }
  }

  private static func compare(_ value: StrictJSON.Value, _ other: Any) throws {
    switch value {
    case .null: try expect(other is NSNull, "null is null")
    case .boolean(let flag): try expect(other as? Bool == flag, "\(flag) is not \(other)")
    case .string(let text): try expect((other as? String)?.utf8.elementsEqual(text.utf8) == true, "\(text.debugDescription) is not \(other)")
    case .other: try expect(other is [Any] || other is NSNumber, "\(other) is a list or a number")
    case .object(let members):
      let others = other as? [String: Any]
      try expect(others != nil, "\(other) is an object")
      let named = Dictionary(uniqueKeysWithValues: (others ?? [:]).map { (Array($0.key.utf8), $0.value) })
      // Foundation takes two spellings of a name for the same one, and keeps one of their values.
      try expect(named.keys.allSatisfy { members[$0] != nil }, "an object has no other members: \(named.keys.map(\.text))")
      for (name, member) in members {
        let isSpelledOnce = members.keys.count { $0.text == name.text } == 1
        if isSpelledOnce, let other = named[name] { try compare(member, other) }
        try expect(others?[name.text] != nil, "an object has the member \(name.text.debugDescription)")
      }
    }
  }

  private static func checkForm(_ members: [[UInt8]: StrictJSON.Value]) throws {
    func field(_ name: String) -> FieldInput {
      switch members[Array(name.utf8)] {
      case nil, .null: .missing
      case .string(let text): .text(text)
      default: .wrongType
      }
    }
    let form = PasswordResetForm(email: field("email"), username: field("username"), locale: field("locale"))
    // The errors of a form are its other result.
    guard let identifier = try? form.clean() else { return }
    switch identifier {
    case .email(let address):
      try expect(EmailValidator.accepts(address) && address.unicodeScalars.count <= 254, "\(address.debugDescription) is an address")
      try expect(!address.unicodeScalars.contains { ["\0", "\n", "\r"].contains($0) }, "\(address.debugDescription) is one line")
    case .username(let name):
      try expect(!name.isEmpty && !name.unicodeScalars.contains("\0"), "\(name.debugDescription) is a name")
      try expect(name.nfkc.utf8.elementsEqual(name.utf8), "\(name.debugDescription) is normalized")
    }
  }
}
