import Mustache
import Testing

@testable import Mail

@Suite struct `A prepared text` {
  private static let templates = [
    "plain", "", "{{email}}", "Hi {{user.display_name}}, {{{user.display_name}}} & {{&email}}",
    "{{#user.first_name}}Dear {{user.first_name}} ({{.}}){{/user.first_name}}{{^user.first_name}}Hello{{/user.first_name}}",
    "{{#user}}{{first_name}} {{last_name}} <{{get_full_name}}>{{/user}}",
    "{{#reset_url}}{{protocol}}://{{domain}}/{{uid}}/{{token}} {{{reset_url}}} {{expires_in}}{{/reset_url}}{{#cancel_url}}{{cancel_url}}{{/cancel_url}}",
    "{{#reset_url}}{{#user.username}}{{username}}{{reset_url}}{{/user.username}}{{/reset_url}}",
    "{{site_name}} {{{site_name}}} {{#beta}}yes {{count}}{{/beta}}{{^beta}}no{{/beta}} {{time}}{{language}}",
  ]
  private static let texts = [
    "", "alice", "<b>&amp; \"x\" 'y'</b>", "a&b", "{{email}}", "{{{token}}}{{#user}}", "密码 é\u{301} 👩‍👩‍👧‍👦", "\u{301}x", "a\r\nb", "7&",
    "\u{10FFFC}3&\u{10FFFD}",
    "https://example.com/reset/MQ/d8ary8-5781?a=1&b=2",
  ]
  private static let constants: [String: any Sendable] = ["site_name": "Größe & \"Co\"", "beta": true, "count": 3, "language": "en"]

  @Test(arguments: templates, ["TEXT", "HTML"])
  func `is the text that Mustache renders for all values`(_ template: String, _ contentType: String) throws {
    let template = try MustacheTemplate(string: "{{% CONTENT_TYPE:\(contentType)}}" + template)
    for round in 0..<200 {
      var generator = SeededGenerator(seed: round)
      var values = PreparedText.Values()
      var context: [String: Any] = Self.constants
      var user: [String: String] = [:]
      for value in PreparedText.Value.allCases {
        let text = Self.texts.randomElement(using: &generator) ?? ""
        values[value] = text
        for name in value.names where !text.isEmpty {
          if name.hasPrefix("user.") { user[String(name.dropFirst(5))] = text } else { context[name] = text }
        }
      }
      context["user"] = user
      let prepared = PreparedText(template, present: values.present, constants: Self.constants)
      #expect(prepared.text(values).utf8.elementsEqual(template.render(context).utf8))
    }
  }
}
