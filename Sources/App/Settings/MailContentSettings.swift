import Foundation
import Localization
import Mail

/// What emails contain: sender, site name, languages and templates.
struct MailContentSettings: SettingsGroup, Sendable {
  let siteName: String
  let sender: String
  private let languageCode: String
  private let directory: String?
  private let extraContext: [String: MailTemplates.Value]
  private let timeZone: TimeZone

  init(from reader: inout SettingsReader) {
    siteName = reader.string(.siteName)
    sender = Self.sender(from: &reader)
    languageCode = reader.string(.languageCode)
    directory = reader.optionalString(.emailTemplatesDir)
    extraContext = Self.extraContext(from: &reader)
    timeZone = LinkSettings.timeZone(from: &reader)
  }

  static func sender(from reader: inout SettingsReader) -> String {
    reader.value(.defaultFromEmail, message: "must be one email address, such as noreply@example.com or Example <noreply@example.com>.") {
      Sender.accepts($0) ? $0 : nil
    }
  }

  /// Loads the languages and the templates. Throws ``SettingsError`` with the location of the first error.
  func load() throws(SettingsError) -> (Languages, MailTemplates) {
    let folder: TemplateFolder
    do {
      folder = try directory.map { path throws(MailTemplates.Invalid) in try TemplateFolder(path: path) } ?? .none
    } catch {
      throw Self.templateError(error)
    }
    let languages: Languages
    do {
      languages = try Languages(default: languageCode, others: folder.languages)
    } catch {
      let known = Languages.builtIn + folder.languages
      throw SettingsError(.invalidMailContent, .languageCode, "must be one of \(known.joined(separator: ", ")).")
    }
    do {
      let templates = try MailTemplates(
        languages: languages, siteName: siteName, sender: sender, folder: folder, extraContext: extraContext, timeZone: timeZone)
      return (languages, templates)
    } catch {
      throw Self.templateError(error)
    }
  }

  private static func templateError(_ error: MailTemplates.Invalid) -> SettingsError {
    SettingsError([Finding(.invalidMailContent, "\(SettingName.emailTemplatesDir.rawValue): \(error)")])
  }

  private static func extraContext(from reader: inout SettingsReader) -> [String: MailTemplates.Value] {
    guard let json = reader.optionalString(.emailExtraContext) else { return [:] }
    // The decoder's own error is not shown, because it may contain a part of the value.
    guard let object = try? JSONDecoder().decode([String: Value].self, from: Data(json.utf8)) else {
      let message = #"must be a JSON object of strings, numbers and booleans, such as {"support": "help@example.com"}."#
      reader.addError(.emailExtraContext, message)
      return [:]
    }
    if let name = object.keys.sorted().first(where: MailTemplates.reserved.contains) {
      reader.addError(.emailExtraContext, "cannot replace \(name), which is a variable of every email. Choose another name.")
    }
    if object.keys.contains(where: { $0.wholeMatch(of: /[A-Za-z_][A-Za-z0-9_]*/) == nil }) {
      reader.addError(.emailExtraContext, "must have names that consist of letters, digits and underscores, and do not begin with a digit.")
    }
    return object.mapValues(\.value)
  }

  /// The JSON values that a variable may have.
  private struct Value: Decodable {
    let value: MailTemplates.Value

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      // A value of another type is tried as the next one; the last attempt reports the error.
      if let flag = try? container.decode(Bool.self) {
        value = .flag(flag)
      } else if let number = try? container.decode(Double.self) {
        value = .number(number)
      } else {
        value = .text(try container.decode(String.self))
      }
    }
  }
}
