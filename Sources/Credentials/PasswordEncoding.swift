/// Returns `count` random characters of `A-Z a-z 0-9` from the cryptographic generator of the system. Django's salts
/// have 22, which are 131 bits.
func randomAlphanumerics(_ count: Int) -> String {
  let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
  return String((0..<count).map { _ in alphabet[Int.random(in: alphabet.indices)] })
}

/// Returns the `$`-separated fields of an encoded password, or `nil` if there are not exactly `count` of them.
///
/// Django's column holds 128 characters. A text ten times as long is not a hash, and copying it would be a waste.
func fields(of encoded: String, count: Int) -> [String]? {
  guard encoded.utf8.count <= 1280 else { return nil }
  let fields = encoded.split(separator: "$", omittingEmptySubsequences: false)
  return fields.count == count ? fields.map(String.init) : nil
}
