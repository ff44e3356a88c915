/// Encodes and decodes an integer key for links, like Django's `int_to_base36`, which django-allauth uses.
public enum UIDB36 {
  /// Returns the number in base 36, with lowercase letters: `35` becomes `z`, and `36` becomes `10`.
  public static func encode(_ number: Int64) -> String { String(number, radix: 36) }

  /// Returns the number that `text` encodes, or `nil` unless it is exactly what ``encode(_:)`` writes for a number that is
  /// not negative.
  ///
  /// Django's decoder also accepts capitals and leading zeros. A link never has them, so this function refuses them.
  public static func decode(_ text: String) -> Int64? {
    guard (1...13).contains(text.utf8.count), let number = Int64(text, radix: 36), number >= 0 else { return nil }
    return encode(number).utf8.elementsEqual(text.utf8) ? number : nil
  }
}
