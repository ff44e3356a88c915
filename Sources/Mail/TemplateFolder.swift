import Foundation
import PasswordReset

/// An operator's own templates: `EMAIL_TEMPLATES_DIR`. A file in the folder itself is for every language, one in a folder of a language's name for
/// that language.
public struct TemplateFolder: Sendable {
  /// The parts of a mail, by the ends of their names.
  enum Part: String, CaseIterable {
    case subject = "_subject.txt"
    case body = "_email.txt"
    case html = "_email.html"

    /// What there is without an operator's template.
    var builtIn: String {
      switch self {
      case .subject: "{{words.subject}}"
      case .body: String(decoding: PackageResources.email_txt, as: UTF8.self)
      case .html: String(decoding: PackageResources.email_html, as: UTF8.self)
      }
    }
  }

  /// No templates of an operator's.
  public static let none = TemplateFolder(texts: [:], languages: [])

  /// The templates that are built in, by the names that an operator's have.
  public static var builtIn: [(name: String, text: String)] {
    MailContext.Kind.allCases.flatMap { kind in Part.allCases.map { (kind.rawValue + $0.rawValue, $0.builtIn) } }
  }

  /// By path in the folder, in lower case.
  private let texts: [String: String]
  /// The languages that have a folder.
  public let languages: [String]

  private init(texts: [String: String], languages: [String]) {
    self.texts = texts
    self.languages = languages
  }

  /// Reads the folder. Throws if it cannot be read, or holds a file that looks like a template and is none: a slip must not pass unseen.
  public init(path: String) throws(MailTemplates.Invalid) {
    var texts = try Self.read(path)
    var languages: [String] = []
    for name in try Self.entries(of: path).sorted() where Self.isFolder("\(path)/\(name)") {
      let found = try Self.read("\(path)/\(name)")
      guard !found.isEmpty else { continue }
      guard name.wholeMatch(of: /[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*/) != nil else {
        throw MailTemplates.Invalid(description: "the folder \(name) holds templates, but its name is not a language's, such as de or pt-BR")
      }
      let tag = name.replacingOccurrences(of: "_", with: "-")
      languages.append(tag)
      for (file, text) in found { texts["\(tag.lowercased())/\(file)"] = text }
    }
    self.init(texts: texts, languages: languages)
  }

  /// Whether the operator has a template for any part of a mail.
  func hasText(_ kind: MailContext.Kind, language: String) -> Bool { Part.allCases.contains { text(kind, $0, language: language) != nil } }

  /// The template for a part of a mail, and where it stands; nil if the operator has none.
  func text(_ kind: MailContext.Kind, _ part: Part, language: String) -> (String, origin: String)? {
    let file = kind.rawValue + part.rawValue
    let subtags = language.lowercased().split(separator: "-")
    // `pt-BR` before `pt` before all languages.
    let paths = (1...subtags.count).reversed().map { subtags.prefix($0).joined(separator: "-") + "/" + file } + [file]
    return paths.lazy.compactMap { path in texts[path].map { ($0, path) } }.first
  }

  /// The templates right in the folder, by name.
  private static func read(_ folder: String) throws(MailTemplates.Invalid) -> [String: String] {
    let known = builtIn.map(\.name)
    var texts: [String: String] = [:]
    for name in try entries(of: folder) where name.hasSuffix(".txt") || name.hasSuffix(".html") || name.hasPrefix("password_") {
      guard known.contains(name) else {
        throw MailTemplates.Invalid(description: "\(name) is no mail's template; there are \(known.sorted().joined(separator: ", "))")
      }
      guard let data = FileManager.default.contents(atPath: "\(folder)/\(name)"), let text = String(data: data, encoding: .utf8) else {
        throw MailTemplates.Invalid(description: "\(name) cannot be read as UTF-8; check its permissions")
      }
      texts[name] = text
    }
    return texts
  }

  private static func entries(of folder: String) throws(MailTemplates.Invalid) -> [String] {
    do {
      return try FileManager.default.contentsOfDirectory(atPath: folder)
    } catch {
      throw MailTemplates.Invalid(description: "there is no such folder, or it cannot be read; check the path and its permissions")
    }
  }

  private static func isFolder(_ path: String) -> Bool {
    var isFolder: ObjCBool = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && isFolder.boolValue
  }
}
