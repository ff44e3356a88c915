import PasswordReset

/// A constant in the JSON of a setting: null, a boolean, a whole number or a text.
struct ConstantDocument: Decodable {
  var value: ActiveValues.Value

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    // Each attempt that fails only says that it is another kind of value.
    if container.decodeNil() {
      value = .null
    } else if let isTrue = try? container.decode(Bool.self) {
      value = .boolean(isTrue)
    } else if let number = try? container.decode(Int64.self) {
      value = .number(number)
    } else {
      value = .text(try container.decode(String.self))
    }
  }
}
