import Credentials
import Mail
import PasswordReset

/// The names by which people know the site: passwords that consist of them are easy to guess.
struct SiteWords {
  let siteName: String
  /// The domains of the links and of the sender.
  let domains: [String]

  init(siteName: String, domains: [String]) { (self.siteName, self.domains) = (siteName, domains) }

  /// Reads the names from `SITE_NAME`, `RESET_URL` and `DEFAULT_FROM_EMAIL`.
  init(from reader: inout SettingsReader) {
    siteName = reader.string(.siteName)
    domains = [LinkSettings(from: &reader).resetURL.domain, Sender.domain(of: MailContentSettings.sender(from: &reader))]
  }

  /// Returns each name, its parts, and its parts together.
  /// - Parameter minimumLength: The length from which a word counts. A character of another script than Latin counts as two,
  ///   because in many of them a word has fewer characters.
  func words(minimumLength: Int) -> [String] {
    let words = ([siteName] + domains.flatMap(Self.labels)).flatMap { name in
      let parts = name.split { !$0.isLetter && !$0.isNumber }.map(String.init)
      return [name, parts.joined()] + parts
    }
    return words.filter { word in word.unicodeScalars.reduce(0) { $0 + ($1.value < 0x250 ? 1 : 2) } >= minimumLength }
  }

  /// Returns the label that names the site in a domain, which is the one before the ending. Returns two labels if the ending may
  /// have two, as `co.uk` does.
  private static func labels(of domain: String) -> [String] {
    let host = domain.prefix { $0 != ":" }
    let labels = host.split(separator: ".").map(String.init).filter { $0 != "www" && !$0.hasPrefix("xn--") }
    guard let ending = labels.last, ending.contains(where: \.isLetter) else { return [] }
    let names = labels.dropLast()
    return Array(names.last.map { $0.count <= 3 } == true ? names.suffix(2) : names.suffix(1))
  }
}
