import Foundation
@testable import Localization
@testable import Mail
@testable import PasswordReset

extension FuzzTarget {
  /// An operator's templates: one that is accepted makes an email with its link, and values have no effect as markup.
  static let templates = FuzzTarget("templates") { bytes in
    let (kind, others) = bytes.choose(MailContext.Kind.allCases)
    let (part, text) = others.choose(TemplateFolder.Part.allCases)
    guard let languages else { return }
    let folder = "\(ScratchFolder.path)/templates"
    try? FileManager.default.removeItem(atPath: folder)
    try FileManager.default.createDirectory(atPath: "\(folder)/en", withIntermediateDirectories: true)
    _ = try ScratchFolder.write(text, "templates/en/\(kind.rawValue)\(part.rawValue)")
    let templates: MailTemplates
    do {
      templates = try MailTemplates(languages: languages, siteName: "Example", sender: "a@example.com", folder: TemplateFolder(path: folder))
    } catch let error as MailTemplates.Invalid {
      try expect(!error.description.isEmpty, "a template is refused with a reason")
      return
    }
    guard let language = languages.match("en") else { return }
    for sample in RenderedEmailChecker.samples(kind, language) { try check(sample, templates, text.text) }
  }

  private static let languages = try? Languages()

  private static func check(_ sample: MailContext, _ templates: MailTemplates, _ template: String) throws {
    var sample = sample
    sample.user.username = "<i>{{token}}{{#user}}\n"
    let email = templates.compose(sample)
    try expect(!email.subject.contains(where: \.isNewline), "a subject is one line: \(email.subject.debugDescription)")
    try expect(email.subject.unicodeScalars.allSatisfy { !["\n", "\r"].contains($0) }, "a subject is one line: \(email.subject.debugDescription)")
    // The operator asked for values without escapes.
    guard !template.contains(/\{\{[{&%]|<i>/) else { return }
    try expect(email.html?.contains("<i>{") != true, "a user name is no markup: \(email.html ?? "")")
  }
}
