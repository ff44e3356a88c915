/// A function that gets hostile input, and throws ``Broken`` if a promise does not hold.
///
/// libFuzzer looks for such input for hours (`make fuzz`), and the tests replay what it found and random changes of that.
struct FuzzTarget: Sendable, CustomStringConvertible {
  static let all = [json, links, hashes, rules, headers, messages, replies, templates, users, pwned, settings]

  /// The name of the folder with the corpus.
  let name: String
  let run: @Sendable ([UInt8]) throws -> Void

  init(_ name: String, _ run: @escaping @Sendable ([UInt8]) throws -> Void) { (self.name, self.run) = (name, run) }

  var description: String { name }
}

/// A promise that does not hold.
struct Broken: Error, CustomStringConvertible {
  let description: String
}

/// Throws ``Broken`` unless a promise holds.
func expect(_ holds: Bool, _ promise: @autoclosure () -> String) throws { if !holds { throw Broken(description: promise()) } }

extension [UInt8] {
  /// The first byte, which selects one of the choices, and the rest.
  func choose<Choice>(_ choices: [Choice]) -> (Choice, [UInt8]) { (choices[Int(first ?? 0) % choices.count], Array(dropFirst())) }

  /// The bytes as text, with U+FFFD for those that are not UTF-8.
  var text: String { String(decoding: self, as: UTF8.self) }
}
