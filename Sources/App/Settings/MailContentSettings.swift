import Foundation
import Localization
import Mail

/// What mails and messages say, and in which languages.
struct MailContentSettings: Sendable {
  let siteName: String
  /// `DEFAULT_FROM_EMAIL`.
  let sender: String
  private let languageCode: String
  private let folder: String?
  private let extraContext: [String: MailTemplates.Value]
  private let timeZone: TimeZone

  init(_ reader: inout SettingsReader, timeZone: TimeZone) {
    siteName = reader.defaultText(.siteName)
    sender = reader.parsed(.defaultFromEmail, remedy: "must be one mailbox such as noreply@example.com") {
      Sender.accepts($0) ? $0 : nil
    }
    languageCode = reader.defaultText(.languageCode)
    folder = reader.text(.emailTemplatesDir)
    extraContext = Self.extraContext(&reader)
    self.timeZone = timeZone
  }

  /// The languages and the templates, read and checked. Throws ``SettingsError`` with the place of the first mistake.
  func load() throws(SettingsError) -> (Languages, MailTemplates) {
    let ownTemplates: TemplateFolder
    do {
      ownTemplates = try folder.map { path throws(MailTemplates.Invalid) in try TemplateFolder(path: path) } ?? .none
    } catch {
      throw Self.fault(error)
    }
    let languages: Languages
    do {
      languages = try Languages(default: languageCode, others: ownTemplates.languages)
    } catch {
      let known = Languages.builtIn + ownTemplates.languages
      throw SettingsError(.languageCode, "must be one of \(known.joined(separator: ", "))", .invalidWording)
    }
    do {
      let templates = try MailTemplates(
        languages: languages, siteName: siteName, sender: sender, folder: ownTemplates, extraContext: extraContext, timeZone: timeZone)
      return (languages, templates)
    } catch {
      throw Self.fault(error)
    }
  }

  private static func fault(_ error: MailTemplates.Invalid) -> SettingsError {
    SettingsError([Finding(.invalidWording, "\(SettingName.emailTemplatesDir.rawValue): \(error)")])
  }

  private static func extraContext(_ reader: inout SettingsReader) -> [String: MailTemplates.Value] {
    guard let json = reader.text(.emailExtraContext) else { return [:] }
    // What the decoder finds wrong may show the value, which is not printed.
    guard let object = try? JSONDecoder().decode([String: Value].self, from: Data(json.utf8)) else {
      reader.fault(.emailExtraContext, #"must be a JSON object of texts, numbers and booleans, such as {"support": "help@example.com"}"#)
      return [:]
    }
    if let name = object.keys.sorted().first(where: MailTemplates.reserved.contains) {
      reader.fault(.emailExtraContext, "cannot replace \(name), which belongs to the mail; choose another name")
    }
    if object.keys.contains(where: { $0.wholeMatch(of: /[A-Za-z_][A-Za-z0-9_]*/) == nil }) {
      reader.fault(.emailExtraContext, "must have names of letters, digits and _ alone")
    }
    return object.mapValues(\.value)
  }

  /// What JSON may hold here.
  private struct Value: Decodable {
    var value: MailTemplates.Value

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      // Each try that fails only says that it is another kind of value.
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
