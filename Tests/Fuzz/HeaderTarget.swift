import Foundation
@testable import HTTPAPI
import Localization
@testable import PasswordReset
@testable import Text

extension FuzzTarget {
  /// Headers of requests, and short texts such as addresses and times.
  static let headers = FuzzTarget("headers") { bytes in
    let text = bytes.text
    try checkMediaType(text)
    try checkAddresses(text)
    if let languages {
      let language = languages.choose(locale: nil, acceptLanguage: text)
      try expect(languages.choose(locale: text, acceptLanguage: nil).tag != "", "there is always a language")
      try expect(languages.choose(locale: language.tag, acceptLanguage: text).tag == language.tag, "the body has precedence")
    }
    if let time = DjangoTime.stored(text) { try expect(DjangoTime.stored(time) == time, "a stored time is not changed again: \(time)") }
    if let iso = DjangoTime.iso(text) { try expect(DjangoTime.iso(iso) == iso, "a written time is not changed again: \(iso)") }
    if let url = ResetURL(text) {
      let link = url.link(uid: "MQ", token: "1-2")
      try expect(link.contains("MQ") && link.contains("1-2") && !link.contains("{"), "a link has its parts: \(link)")
    }
  }

  private static let languages = try? Languages()
  private static let proxies = TrustedProxies("10.0.0.0/8, ::1, 192.168.0.0/16")

  private static func checkMediaType(_ text: String) throws {
    _ = MediaType.isIdentity(text)
    guard MediaType.isJSON(text) else { return }
    try expect(text.lowercased().contains("application/json"), "JSON has the type of JSON: \(text)")
    try expect(MediaType.isJSON(" " + text + ";"), "a space and an empty parameter change nothing: \(text)")
    try expect(!MediaType.isJSON(text + ";charset=latin1"), "another charset is refused: \(text)")
  }

  private static func checkAddresses(_ text: String) throws {
    if let address = IPAddress(text) { try expect(IPAddress(address.description) == address, "an address can be read again: \(text)") }
    if IPNetwork(text[...]) != nil { try expect(TrustedProxies(text) != nil || text.contains(","), "a network can be trusted: \(text)") }
    _ = (HostName.isAuthority(text), AllowedOrigins(text), AllowedOrigins.headerNames(text), EmailValidator.accepts(text))
    let client = proxies?.client(peer: IPAddress("10.0.0.1"), forwardedFor: [text])
    try expect(client != nil, "a client has an address")
    let forged = proxies?.client(peer: IPAddress("10.0.0.1"), forwardedFor: [text + ", 203.0.113.9"])
    try expect(forged == IPAddress("203.0.113.9"), "what a client writes does not change its address: \(text)")
  }
}
