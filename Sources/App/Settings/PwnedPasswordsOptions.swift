import Foundation
import Logging
import Prometheus
import PwnedPasswords

/// Where leaked passwords are looked up: the `OPTIONS` of `PwnedPasswordsValidator`.
struct PwnedPasswordsOptions: Sendable {
  /// The path of the file, which was opened once.
  private(set) var path: String?
  private(set) var file: PwnedPasswordsFile?
  /// The URL of the API up to the digits.
  private(set) var apiURL: String?
  private(set) var failurePolicy = PwnedPasswordsValidator.FailurePolicy.accept
  private(set) var texts = PwnedPasswordsValidator.Texts()

  /// The API, or `nil` if it is not used.
  var api: RangeAPI? { apiURL.map { RangeAPI(url: $0, userAgent: "password-reset/\(BuildInfo.version)") } }

  func validator(registry: Registry, logger: Logger) -> PwnedPasswordsValidator {
    // If there are both, the API, which has the latest passwords, is asked first.
    let sources: [(any PwnedPasswordSource)?] = [api, file]
    return PwnedPasswordsValidator(
      sources: sources.compactMap(\.self), failurePolicy: failurePolicy, texts: texts, registry: registry, logger: logger)
  }

  /// Reads the options, and opens the file.
  /// - Parameter defaultURL: The URL of the API if the options do not mention it, or `nil` if they must choose a source.
  init(_ options: inout PasswordValidatorList.Options, defaultURL: String? = nil) throws(PasswordValidatorList.Invalid) {
    if options.values["api_client"] != nil {
      throw options.invalid(
        "api_client is Python code. Leave it out; the option api asks the same API, and on_failure decides if it does not answer.")
    }
    if let decision = try options.text("on_failure") {
      guard let policy = PwnedPasswordsValidator.FailurePolicy(rawValue: decision) else {
        throw options.invalid("on_failure must be accept or refuse.")
      }
      failurePolicy = policy
    }
    texts.error = try Self.message("error_message", &options)
    texts.help = try Self.message("help_message", &options)
    let mentionsAPI = options.values["api"] != nil
    apiURL = try Self.apiURL(&options)
    if !mentionsAPI { apiURL = defaultURL }
    path = try options.text("file")
    guard path != nil || apiURL != nil else {
      throw options.invalid(#"it needs the option file, the path of a filter that `password-reset pwned build` made, or "api": true, or both."#)
    }
    do throws(PwnedFileError) { file = try path.map { path throws(PwnedFileError) in try PwnedPasswordsFile(path: path) } } catch {
      throw options.invalid(
        "file names a file that cannot be used: \(error). `password-reset pwned build` makes a new one.", kind: .unusablePwnedFile)
    }
  }

  private static func message(_ name: String, _ options: inout PasswordValidatorList.Options) throws(PasswordValidatorList.Invalid) -> String? {
    let text = try options.text(name)
    // The Django package fills in how often the password was found, which a filter does not contain.
    if let text, text.contains("%(") { throw options.invalid("\(name) must be a sentence without %(amount)d.") }
    return text
  }

  private static func apiURL(_ options: inout PasswordValidatorList.Options) throws(PasswordValidatorList.Invalid) -> String? {
    switch options.values.removeValue(forKey: "api") {
    case nil, .boolean(false): return nil
    case .boolean(true): return RangeAPI.publicURL
    case .text(let text):
      if let url = rangeURL(text) { return url }
      fallthrough
    default: throw options.invalid("api must be true, or the URL of a mirror such as https://pwned.example.com/range/ (http only on this machine).")
    }
  }

  /// Returns the URL with a slash at its end, or `nil` if requests to it would not be safe.
  private static func rangeURL(_ text: String) -> String? {
    guard let url = URLComponents(string: text), let host = url.host, !host.isEmpty, url.user == nil, url.password == nil, url.query == nil,
      url.fragment == nil, text.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
    else { return nil }
    let isLocal = HTTPSettings.isLoopback(host.trimmingCharacters(in: ["[", "]"]))
    guard url.scheme == "https" || url.scheme == "http" && isLocal else { return nil }
    return text.hasSuffix("/") ? text : text + "/"
  }
}
