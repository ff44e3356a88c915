import CEmbeddedFiles
import Foundation
import PasswordReset

/// An operator's templates in the folder `EMAIL_TEMPLATES_DIR`.
///
/// A file directly in the folder is for all languages. A file in a subfolder named by a language tag is for that
/// language.
public struct TemplateFolder: Sendable {
  /// A part of an email. The names of its templates end with the raw value.
  enum Part: String, CaseIterable {
    case subject = "_subject.txt"
    case body = "_email.txt"
    case html = "_email.html"

    /// The built-in template.
    var builtIn: String {
      switch self {
      case .subject: "{{words.subject}}"
      case .body: Self.text(of: textTemplateFile())
      case .html: Self.text(of: htmlTemplateFile())
      }
    }

    private static func text(of file: EmbeddedFile) -> String {
      String(decoding: UnsafeBufferPointer(start: file.start, count: file.count), as: UTF8.self)
    }
  }

  /// A folder without templates.
  public static let none = TemplateFolder(texts: [:], languages: [])

  /// The built-in templates and the file names of the templates that replace them.
  public static var builtIn: [(name: String, text: String)] {
    MailContext.Kind.allCases.flatMap { kind in Part.allCases.map { (kind.rawValue + $0.rawValue, $0.builtIn) } }
  }

  /// The templates by their paths in the folder, in lowercase.
  private let texts: [String: String]
  /// The tags of the languages that have a subfolder with templates.
  public let languages: [String]

  private init(texts: [String: String], languages: [String]) {
    self.texts = texts
    self.languages = languages
  }

  /// Reads the folder. It throws if the folder cannot be read, and also for a misspelled name of a template, which
  /// would otherwise be ignored.
  public init(path: String) throws(MailTemplates.Invalid) {
    var texts = try Self.read(path)
    var languages: [String] = []
    for name in try Self.entries(of: path).sorted() where Self.isFolder("\(path)/\(name)") {
      let found = try Self.read("\(path)/\(name)")
      guard !found.isEmpty else { continue }
      guard name.wholeMatch(of: /[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*/) != nil else {
        throw MailTemplates.Invalid(description: "the folder \(name) contains templates, but its name is not a language tag such as de or pt-BR")
      }
      let tag = name.replacingOccurrences(of: "_", with: "-")
      languages.append(tag)
      for (file, text) in found { texts["\(tag.lowercased())/\(file)"] = text }
    }
    self.init(texts: texts, languages: languages)
  }

  /// Returns whether the operator has a template for any part of an email.
  func hasText(_ kind: MailContext.Kind, language: String) -> Bool { Part.allCases.contains { text(kind, $0, language: language) != nil } }

  /// Returns the template for a part of an email and its path, or `nil` if the operator has none.
  func text(_ kind: MailContext.Kind, _ part: Part, language: String) -> (String, origin: String)? {
    let file = kind.rawValue + part.rawValue
    let subtags = language.lowercased().split(separator: "-")
    // Look in `pt-BR`, then in `pt`, then in the folder itself.
    let paths = (1...subtags.count).reversed().map { subtags.prefix($0).joined(separator: "-") + "/" + file } + [file]
    return paths.lazy.compactMap { path in texts[path].map { ($0, path) } }.first
  }

  /// Returns the templates directly in a folder, by name.
  private static func read(_ folder: String) throws(MailTemplates.Invalid) -> [String: String] {
    let known = builtIn.map(\.name)
    var texts: [String: String] = [:]
    for name in try entries(of: folder) where name.hasSuffix(".txt") || name.hasSuffix(".html") || name.hasPrefix("password_") {
      guard known.contains(name) else {
        throw MailTemplates.Invalid(description: "\(name) is not the name of a template; choose one of \(known.sorted().joined(separator: ", "))")
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
