import Credentials
import Foundation
import Text

/// What a Django site computed with its settings, in the file that `deploy/django/export_settings.py` writes: a list of
/// objects in JSON. `kind` says what the other members of an object are:
///
/// - `token`: the `token` and the `uidb64` that Django made at `made_at` for an invented user with this `id`, `password`,
///   `email` and `last_login`, which may be null. `clock` is `made_at` in seconds since 2001 on the site's wall clock, and
///   `signed_in_at` the moment that Django prints as `last_login`. `timeout` is `PASSWORD_RESET_TIMEOUT`.
/// - `hash`: the `hash` that Django made of `password`, and whether they match (`matches`).
/// - `address`: whether Django considers the addresses `first` and `second` the `same`.
///
/// Moments are in Unix seconds.
struct SiteVectors: Sendable {
  private enum Vector: Decodable {
    case token(Token), hash(Hash), address(Addresses)

    private enum Key: CodingKey { case kind }
    private enum Kind: String, Decodable { case token, hash, address }

    init(from decoder: any Decoder) throws {
      switch try decoder.container(keyedBy: Key.self).decode(Kind.self, forKey: .kind) {
      case .token: self = .token(try Token(from: decoder))
      case .hash: self = .hash(try Hash(from: decoder))
      case .address: self = .address(try Addresses(from: decoder))
      }
    }
  }

  private struct Token: Decodable {
    enum CodingKeys: String, CodingKey {
      case id, uidb64, password, email, clock, timeout, token
      case signedInAt = "signed_in_at", lastLogin = "last_login", madeAt = "made_at"
    }

    var id, uidb64, password, email, token: String
    var lastLogin: String?
    var signedInAt: Int?
    var madeAt, clock, timeout: Int

    var subject: TokenSubject { TokenSubject(id: UserID(id), password: password, lastLogin: lastLogin, email: email) }
    var moment: Date { Date(timeIntervalSince1970: Double(madeAt)) }
  }

  private struct Hash: Decodable {
    var password, hash: String
    var matches: Bool
  }

  private struct Addresses: Decodable {
    var first, second: String
    var same: Bool
  }

  private let vectors: [Vector]

  /// Reads the file. Throws a finding if it cannot be read or is another file.
  init(path: String) throws(Finding) {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw Finding(.unreadableFile, "--vectors names a file that cannot be read.", hint: "Check the path and its permissions.")
    }
    // The decoder's own error is not shown, because the path may name a file with secrets.
    guard let vectors = try? JSONDecoder().decode([Vector].self, from: data), !vectors.isEmpty else {
      let hint = "deploy/django/export_settings.py writes vectors.json next to the settings."
      throw Finding(.differentVector, "--vectors names a file that has no vectors of a site.", hint: hint)
    }
    self.vectors = vectors
  }

  /// Returns a finding for each result that differs from the site's.
  func findings(_ tokens: TokenSettings, _ links: LinkSettings, _ database: DatabaseSettings) -> [Finding] {
    var findings: [Finding] = []
    for (index, vector) in vectors.enumerated() {
      switch vector {
      case .token(let token): findings += differences(index + 1, token, tokens, links) + loginDifferences(index + 1, token, database.location)
      case .hash(let hash): findings += differences(index + 1, hash)
      case .address(let addresses): findings += differences(index + 1, addresses)
      }
    }
    return findings + timeoutDifferences(links)
  }

  private func differences(_ number: Int, _ token: Token, _ tokens: TokenSettings, _ links: LinkSettings) -> [Finding] {
    var findings: [Finding] = []
    if UIDB64.encode(UserID(token.id)) != token.uidb64 {
      findings.append(finding(number, "The uidb64", "The site encodes the keys of its users in its own way, so each side refuses the other's links."))
    }
    let generator = tokens.generator(for: links)
    let ofSecretKey = PasswordResetTokenGenerator(secretKey: tokens.secretKey, timeout: links.timeout, timeZone: links.timeZone)
    if ofSecretKey.check(token.token, for: token.subject, at: token.moment) == .invalid {
      let isFormer = generator.check(token.token, for: token.subject, at: token.moment) != .invalid
      let hint =
        isFormer
        ? "The site's SECRET_KEY is one of SECRET_KEY_FALLBACKS here. Exchange them."
        : "SECRET_KEY is not the site's: it may have a line end, a space or quotation marks more or less. Or the site has its own token generator."
      findings.append(finding(number, "The token", hint))
    }
    if generator.wallClock(at: token.moment) != token.clock {
      findings.append(finding(number, "The time in the token", "TIME_ZONE is not the site's, or the time zone data of the two machines differ."))
    }
    return findings
  }

  /// Compares how Django prints the last sign-in. SQLite has it as a text, so that no setting matters.
  private func loginDifferences(_ number: Int, _ token: Token, _ location: DatabaseLocation) -> [Finding] {
    guard case .postgreSQL(_, _, let zone) = location, let signedInAt = token.signedInAt, let timeZone = TimeZone(identifier: zone) else { return [] }
    let format = Date.ISO8601FormatStyle(dateTimeSeparator: .space, timeZone: timeZone).year().month().day().time(includingFractionalSeconds: false)
    guard Date(timeIntervalSince1970: Double(signedInAt)).formatted(format) != token.lastLogin else { return [] }
    return [finding(number, "The last sign-in in the token", "USE_TZ or TIME_ZONE is not the site's.")]
  }

  private func differences(_ number: Int, _ hash: Hash) -> [Finding] {
    guard PasswordHashers().verify(hash.password, encoded: hash.hash) != hash.matches else { return [] }
    return [
      finding(number, "The hash", "PASSWORD_HASHERS of the site has a hasher that differs from Django's, or costs more than the service allows.")
    ]
  }

  private func differences(_ number: Int, _ addresses: Addresses) -> [Finding] {
    guard (addresses.first.caselessKey == addresses.second.caselessKey) != addresses.same else { return [] }
    return [finding(number, "The comparison of addresses", "The Unicode data of the two machines differ. Please report it as a bug.")]
  }

  private func timeoutDifferences(_ links: LinkSettings) -> [Finding] {
    let differs = vectors.contains { vector in
      if case .token(let token) = vector { token.timeout != links.timeout } else { false }
    }
    guard differs else { return [] }
    let message = "PASSWORD_RESET_TIMEOUT is not the site's, so each side decides in its own way when a link has expired."
    return [Finding(.differentTimeout, message, hint: "Set the same value on both sides, if both check links.")]
  }

  private func finding(_ number: Int, _ subject: String, _ hint: String) -> Finding {
    Finding(.differentVector, "\(subject) of vector \(number) differs from the site's.", hint: hint)
  }
}

extension Checks {
  /// Compares the results of the service with those of a Django site. Settings that cannot be read have their own findings.
  static func ofVectors(in path: String, environment: [String: String]) -> [Finding] {
    guard let tokens = TokenSettings(nextToErrorsIn: environment), let links = LinkSettings(nextToErrorsIn: environment),
      let database = DatabaseSettings(nextToErrorsIn: environment)
    else { return [] }
    do {
      return try SiteVectors(path: path).findings(tokens, links, database)
    } catch {
      return [error]
    }
  }
}
