import Foundation
import Localization
import Testing

@testable import App
@testable import Mail
@testable import PasswordReset

@Suite struct `The templates of an operator` {
  private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("templates-\(UUID().uuidString)").path

  private func write(_ files: [String: String]) throws {
    for (name, text) in files {
      let url = URL(fileURLWithPath: "\(folder)/\(name)")
      try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try text.write(to: url, atomically: false, encoding: .utf8)
    }
  }

  private func settings(_ others: [String: String] = [:]) throws -> Settings {
    let own = ["SECRET_KEY": Harness.secretKey, "EMAIL_BACKEND": "dummy", "EMAIL_TEMPLATES_DIR": folder, "SITE_NAME": "Example"]
    return try Settings(environment: own.merging(others) { $1 })
  }

  private func mail(_ kind: MailContext.Kind = .passwordReset, _ locale: String? = nil, user: User? = nil, settings others: [String: String] = [:])
    throws
    -> EmailMessage
  {
    var sample = MailContext.sample(
      kind, locale: locale, resetURL: try #require(ResetURL("https://example.com/reset/{uid}/{token}")), lifetime: 3600,
      at: Date(timeIntervalSince1970: 1_800_000_000))
    if let user { sample.user = user }
    return try settings(others).templates.compose(sample)
  }

  @Test func `replace the built-in ones one by one, for all languages or for one`() throws {
    try write([
      "password_reset_subject.txt": "{{site_name}}: all\n", "de/password_reset_subject.txt": "{{site_name}}: de",
      "pt/password_reset_subject.txt": "{{site_name}}: pt", "nl/password_reset_email.txt": "Hallo {{user.username}}, {{expires_in}}: {{reset_url}}",
      "README": "not a template", "images/logo.svg": "<svg/>",
    ])
    #expect(try mail(.passwordReset, "en").subject == "Example: all")
    #expect(try mail(.passwordReset, "de-AT").subject == "Example: de")
    #expect(try mail(.passwordReset, "pt-BR").subject == "Example: pt")
    #expect(try mail(.passwordChanged, "en").subject == "Your Example password was changed")
    let dutch = try mail(.passwordReset, "nl")
    #expect(dutch.language == "nl" && dutch.body.hasPrefix("Hallo alice, 1 uur: https://example.com/reset/"))
    #expect(try settings(["LANGUAGE_CODE": "nl"]).languages.default.tag == "nl")
    #expect(try mail(.passwordReset, "fr").body.contains("https://example.com/reset/"))
    try write(["de-AT/password_changed_subject.txt": "Servus"])
    let austrian = try mail(.passwordChanged, "de-AT")
    #expect(austrian.subject == "Servus" && austrian.body.contains("Hallo alice,") && austrian.language == "de-AT")
    #expect(try settings().languages.choose(locale: "de-AT", acceptLanguage: nil).messagesTag == "de")
  }

  @Test(
    .timeLimit(.minutes(1)),
    arguments: [
      ("{{ ", "{{reset_url}}", "line 1: there is no {{ {{ {{"), ("{", "", "a section or a tag is not closed"),
      ("{{#user}}", "", "line 1: sections are nested"), ("{{!x}}\n", "{{x}}", "line 30001: there is no x"),
    ])
  func `are checked in a short time, however many braces they have`(_ braces: String, _ end: String, _ error: String) throws {
    try write(["en/password_reset_email.txt": String(repeating: braces, count: 30_000) + end])
    let thrown = #expect(throws: SettingsError.self) { try settings() }
    #expect(thrown?.description.contains(error) == true && thrown?.description.utf8.count ?? 0 < 1000)
  }

  @Test func `have Django's context, and the sentences of the language`() throws {
    try write([
      "password_reset_email.txt": """
      {{protocol}}://{{domain}}/reset/{{uid}}/{{token}}/ {{email}} {{user.get_username}} {{#user.first_name}}{{user.last_name}}{{/user.first_name}}
      {{words.button}}|{{#user}}{{email}}{{/user}}|{{^user.first_name}}nameless{{/user.first_name}}
      """
    ])
    let body = try mail(.passwordReset, "de").body
    #expect(body.hasPrefix("https://example.com/reset/MQ/d8ary8-578199d4e42f291f0f3bce532651119e/ alice@example.com alice Example\n"))
    #expect(body.hasSuffix("Neues Passwort wählen|alice@example.com|"))
    let nameless = try mail(user: User(id: 1, username: "bob", email: "bob@example.com", password: "")).body
    #expect(nameless.hasSuffix("|nameless"))
  }

  @Test func `have the values of EMAIL_EXTRA_CONTEXT`() throws {
    try write(["password_changed_email.txt": "{{support}} {{floor}} {{#open}}open{{/open}} {{site_name}}"])
    let extra = ["EMAIL_EXTRA_CONTEXT": #"{"support": "<help@example.com>", "floor": 3, "open": true, "site_name": "Other"}"#]
    #expect(try mail(.passwordChanged, settings: extra).body == "<help@example.com> 3 open Other")
  }

  @Test func `escape values in HTML and nowhere else`() throws {
    try write([
      "password_reset_subject.txt": "{{user.username}}\r\nBcc: x@example.com", "password_reset_email.txt": "{{user.username}}|{{reset_url}}",
      "password_reset_email.html": "<p>{{user.username}}</p>{{reset_url}}",
    ])
    let mail = try mail(user: User(id: 1, username: #"<b>&"'{{7*7}}{{{token}}}"#, email: "a@example.com", password: ""))
    #expect(mail.subject == #"<b>&"'{{7*7}}{{{token}}}Bcc: x@example.com"#)
    #expect(mail.body.hasPrefix(#"<b>&"'{{7*7}}{{{token}}}|https:"#))
    #expect(mail.html?.hasPrefix("<p>&lt;b&gt;&amp;&quot;&#39;{{7*7}}{{{token}}}</p>https:") == true)
  }

  @Test func `drop the HTML part if its file is empty`() throws {
    try write(["password_reset_email.html": "\n"])
    #expect(try mail().html == nil)
    #expect(try mail(.passwordChanged).html != nil)
  }

  @Test(arguments: [
    ("password_reset_email.txt", "Hello\n\n{{user.nickname}}", "line 3: there is no user.nickname"),
    ("password_reset_email.txt", "{{#stranger}}x{{/stranger}}", "line 1: there is no stranger"),
    ("password_reset_email.html", "<p>\n{{reset_ur}}", "line 2: there is no reset_ur"),
    ("de/password_reset_email.html", "{{> layout}}", "line 1: partials are not supported"),
    ("password_reset_email.txt", "{{uppercased(words.intro)}}", "line 1: there is no uppercased(words.intro)"),
    ("password_reset_email.txt", "{{user}}", "line 1: user is not a text"), ("password_reset_email.txt", "{{.}}", "line 1: . is not a text"),
    ("password_reset_email.htm", "x", "is not the name of a template"),
    ("password_reset_email.txt", "{{#words.intro}}x{{/words.intro}}", "line 1: words.intro is a sentence"),
    ("password_reset_email.txt", "{{=<% %>=}}", "line 1: the delimiters cannot be changed"),
    ("password_changed_email.txt", "{{reset_url}}", "line 1: there is no reset_url"),
    ("password_reset_subject.txt", "{% load i18n %}{% autoescape off %}", "line 1: {% begins a tag of another template language"),
    ("password_reset_email.html", "{{reset_url}}\n{% url 'password_reset_confirm' uidb64=uid token=token %}", "line 2: {% begins a tag"),
    ("password_reset_email.txt", "{{#reset_url}}{{reset_url}}{{/reset_url}}\n{# a comment #}", "line 2: {# begins a tag"),
    ("de/password_changed_email.txt", "{#\n of two lines\n#}", "line 1: {# begins a tag"),
    ("password_changed_email.html", "<p>\n\n<%= user.name %></p>", "line 3: <% begins a tag"),
    ("password_reset_email.txt", "Hello ${name}, {{reset_url}}", "line 1: ${ begins a tag"),
    ("password_changed_subject.txt", "{{{site_name}}}{%raw%}", "line 1: {% begins a tag"),
    ("password_reset_email.txt", "Hello {{user.username}}", "makes a text without the link"),
    ("pt/password_reset_email.txt", "{{protocol}}://{{domain}}/reset/{{token}}", "makes a text without the link"),
    ("password_reset_email.txt", "Hello {{^reset_url}}https://example.com/{{uid}}/{{token}}{{/reset_url}}", "makes a text without the link"),
    ("password_reset_email.txt", "Hello {{#user.first_name}}{{reset_url}}{{/user.first_name}}", "makes a text without the link"),
    ("password_reset_email.txt", "", "makes an empty text"), ("password_changed_email.txt", "\n \u{200B}", "makes an empty text"),
    ("password_reset_subject.txt", "", "makes an empty subject"), ("password_changed_subject.txt", "\n\n", "makes an empty subject"),
    ("de/password_reset_subject.txt", "{{#user.last_name}}Hallo{{/user.last_name}}", "makes an empty subject"),
    ("password_reset_email.html", "<p>Hello</p><!-- {{reset_url}} -->", "makes a page without the link"),
    ("password_reset_email.html", "<head><title>{{reset_url}}</title></head><p>x</p>", "makes a page without the link"),
    ("password_reset_email.html", "Hello {{user.username}}, {{reset_url}}", "contains no HTML"),
    ("password_changed_email.html", "<p> </p>", "makes a page without text"),
    ("password_reset_email.txt", "one\n{{#reset_url}}two", "line"), ("password_reset_email.txt", "{{site_name", "line"),
    ("password_reset_mail.txt", "x", "is not the name of a template"),
    ("deutsche Texte/password_reset_email.txt", "x", "its name is not a language tag"),
  ])
  func `that are wrong stop the start with an error that says where`(_ name: String, _ text: String, _ fault: String) throws {
    try write([name: text])
    let error = #expect(throws: SettingsError.self) { try settings() }
    #expect(error?.description.contains("EMAIL_TEMPLATES_DIR") == true)
    #expect(
      error?.description.contains(name.split(separator: "/")[0]) == true && error?.description.contains(fault) == true, "\(error?.description ?? "")")
  }

  @Test(arguments: [
    "@media print{#header{display:none}}#a{color:red}", "{{#reset_url}}{{#user.first_name}}x{{/user.first_name}}{{/reset_url}}",
    "100 % { 5 }", "$5 {x}",
  ])
  func `may contain text that only resembles a tag`(_ text: String) throws {
    try write(["password_reset_email.html": "<style>\(text)</style><a href='{{reset_url}}'>Reset</a>"])
    #expect(try mail().html?.contains("Reset") == true)
  }

  @Test(arguments: [
    ("www.evil.example", "www.\u{200B}evil.\u{200B}example"),
    ("http://1.2.3.4/x", "http:\u{200B}/\u{200B}/\u{200B}1.\u{200B}2.\u{200B}3.\u{200B}4/\u{200B}x"),
    ("eve@evil.example", "eve@\u{200B}evil.\u{200B}example"), ("evil\u{3002}example", "evil\u{3002}\u{200B}example"),
    ("evil\u{FF0E}example", "evil\u{FF0E}\u{200B}example"), ("john.smith", "john.\u{200B}smith"), ("alice", "alice"),
    ("Alice@Example.com", "Alice@Example.com"), ("mailto:eve", "mailto:\u{200B}eve"), ("\\\\evil\\x", "\\\u{200B}\\\u{200B}evil\\\u{200B}x"),
  ])
  func `greet a user without making a link of the name`(_ name: String, _ greeting: String) throws {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    for (kind, tag) in MailContext.Kind.allCases.flatMap({ kind in Languages.builtIn.map { (kind, $0) } }) {
      let mail = try mail(kind, tag, user: User(id: 1, username: name, email: "alice@example.com", password: ""))
      #expect(mail.body.contains(greeting) && mail.html?.contains(greeting) == true)
      if greeting != name { #expect(!mail.body.contains(name) && mail.html?.contains(name) == false) }
    }
  }

  @Test(arguments: Languages.builtIn) func `greet a user without a user name by the address`(_ tag: String) throws {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    for kind in MailContext.Kind.allCases {
      let mail = try mail(kind, tag, user: User(id: 1, username: "", email: "Alice@mail.example", firstName: "Zebedee", password: ""))
      // The address of the recipient, which the email mentions anyway, is another one here.
      #expect(mail.body.contains("Alice@mail.example") && mail.html?.contains("Alice@mail.example") == true)
      #expect(!mail.body.contains("Zebedee"))
    }
  }

  @Test(arguments: Languages.builtIn) func `load nothing from other hosts in HTML`(_ tag: String) throws {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    for kind in MailContext.Kind.allCases {
      let html = try #require(try mail(kind, tag).html)
      let addresses = html.matches(of: /https?:[^"'<\s]*/).map { String($0.0) }
      #expect(addresses.allSatisfy { $0.hasPrefix("https://example.com/reset/MQ/") } && addresses.count == (kind == .passwordReset ? 3 : 0))
      #expect(!html.contains(/<(img|script|link|iframe)|url\(|@import/))
    }
  }
}
