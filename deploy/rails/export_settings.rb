# Writes the settings of a Rails application with Devise for password-reset, with its secrets:
#
#     bin/rails runner export_settings.rb
#
# This creates the folder `password-reset`, which only its owner may read: `password-reset.json` has the settings, and each
# secret is in its own file. EXPORT_FOLDER=/etc/password-reset chooses another folder. It prints warnings about what it cannot
# export. Nothing in the application or its database is changed.

require "erb"
require "fileutils"
require "json"
require "securerandom"
require "shellwords"

SECRETS = %w[DATABASE_PASSWORD SECRET_KEY EMAIL_HOST_PASSWORD].freeze
OPTIONAL_COLUMNS = %w[username first_name last_name is_staff is_superuser date_joined].freeze
LANGUAGES = %w[en ar de es fr ja pt-BR zh-Hans].freeze

# Prints what a person should know, in one line on standard error.
def warning(text) = $stderr.puts("warning: #{text}")

# Ends the script, before it has written anything.
def refuse(text) = abort("error: #{text} Nothing was written.")

# Returns the model whose users sign in with a password.
def user_model
  models = Devise.mappings.values.map(&:to).select { |model| model.devise_modules.include?(:database_authenticatable) }.uniq
  refuse("no model uses Devise's database_authenticatable.") if models.empty?
  warning("#{models.drop(1).join(', ')} also sign in with a password; only #{models.first} is exported.") if models.size > 1
  models.first
end

# Returns the settings for the database that has the users.
def database_settings(model)
  database = model.connection_db_config.configuration_hash
  case database[:adapter]
  when "sqlite3" then { "DATABASE_URL" => "sqlite:#{File.expand_path(database[:database].to_s, Rails.root)}" }
  when "postgresql", "postgis" then postgresql_settings(database)
  else
    warning("the users are in #{database[:adapter]}; the service supports SQLite and PostgreSQL. DATABASE_URL is missing.")
    {}
  end
end

def postgresql_settings(database)
  # Rails passes these parameters to PostgreSQL's library; others are its own.
  parameters = database.slice(*PG::Connection.conndefaults_hash.keys).except(:password, :dbname)
  parameters[:user] = database[:username] if database[:username]
  parameters[:options] = "-csearch_path=#{database[:schema_search_path].delete(' ')}" if database[:schema_search_path]
  query = parameters.compact.map { |name, value| "#{name}=#{ERB::Util.url_encode(value.to_s)}" }.join("&")
  url = "postgresql:///#{ERB::Util.url_encode(database[:database].to_s)}"
  { "DATABASE_URL" => query.empty? ? url : "#{url}?#{query}", "DATABASE_PASSWORD" => database[:password] }
end

# Returns the table and the columns of the users. Devise has no column that says who is active.
def users_settings(model)
  columns = { "password" => "encrypted_password", "is_active" => nil, "last_login" => nil }
  columns["id"] = model.primary_key unless model.primary_key == "id"
  # `grants` names all columns that are not null here.
  (OPTIONAL_COLUMNS - model.column_names).each { |name| columns[name] = nil }
  if model.devise_modules.include?(:lockable)
    warning("Devise unlocks an account after a reset; the service does not.")
  end
  unless model.instance_method(:active_for_authentication?).owner.name.to_s.start_with?("Devise::")
    warning("#{model} decides in Ruby who is active (active_for_authentication?), and every user is active here.")
  end
  { "USERS_TABLE" => model.table_name, "USERS_COLUMNS" => columns }
end

# Returns the form and the cost of the hashes, and the rules for new passwords.
def password_settings(model)
  refuse("Devise mixes its pepper into each password, which the service cannot do.") if model.pepper.present?
  refuse("#{model} uses the module encryptable of Devise, whose hashes the service does not have.") if model.devise_modules.include?(:encryptable)
  values = {
    "PASSWORD_FORMAT" => "crypt", "PASSWORD_FORMAT_OPTIONS" => "ident=2a",
    "PASSWORD_HASHER" => "bcrypt", "PASSWORD_HASHER_OPTIONS" => "rounds=#{model.stretches}"
  }
  if model.devise_modules.include?(:validatable)
    # A range without an end has no maximum.
    longest = model.password_length.end && model.password_length.max
    values["AUTH_PASSWORD_VALIDATORS"] = [
      { "NAME" => "MinimumLengthValidator", "OPTIONS" => { "min_length" => model.password_length.min } },
      ({ "NAME" => "MaximumLengthValidator", "OPTIONS" => { "max_length" => longest } } if longest)
    ].compact
  end
  values
end

# Returns the sender, and the settings of the mail server or of another way to deliver emails.
def mail_settings
  method = ActionMailer::Base.delivery_method
  sender = Devise.mailer_sender
  values = sender.is_a?(String) ? { "DEFAULT_FROM_EMAIL" => sender } : {}
  warning("Devise's mailer_sender is Ruby, so DEFAULT_FROM_EMAIL is missing.") if values.empty?
  case method
  when :smtp then values.merge(smtp_settings(ActionMailer::Base.smtp_settings))
  when :sendmail then values.merge("EMAIL_BACKEND" => "sendmail")
  when :file then values.merge("EMAIL_BACKEND" => "file", "EMAIL_FILE_PATH" => ActionMailer::Base.file_settings[:location].to_s)
  else
    warning("the delivery method #{method} is Ruby, so EMAIL_BACKEND is missing. Set it to smtp, with the server of your provider.")
    values
  end
end

def smtp_settings(smtp)
  is_tls = smtp[:tls] || smtp[:ssl] || false
  # Rails uses STARTTLS if the server offers it; the service either requires it or does not use it.
  is_starttls = !is_tls && (smtp[:enable_starttls] || smtp[:port].to_i == 587)
  {
    "EMAIL_BACKEND" => "smtp", "EMAIL_HOST" => smtp[:address], "EMAIL_PORT" => smtp[:port], "EMAIL_HOST_USER" => smtp[:user_name],
    "EMAIL_HOST_PASSWORD" => smtp[:password], "EMAIL_USE_SSL" => is_tls ? true : nil, "EMAIL_USE_TLS" => is_starttls ? true : nil
  }
end

# Returns the validity of links, the time zone and the language of emails.
def other_settings(model)
  wanted = I18n.default_locale.to_s.downcase
  language = LANGUAGES.find { |name| name.downcase == wanted } || LANGUAGES.find { |name| name == wanted.split("-").first }
  warning("the service has no emails in the language #{wanted}; they are in English until you add it (docs/mail.md).") unless language
  { "PASSWORD_RESET_TIMEOUT" => model.reset_password_within.to_i, "TIME_ZONE" => Time.zone.tzinfo.name, "LANGUAGE_CODE" => language }
end

# Writes a file that only its owner may read.
def write(path, text)
  File.open(path, File::WRONLY | File::CREAT | File::TRUNC, 0o600) do |file|
    file.chmod(0o600)
    file.puts(text)
  end
end

# Writes the settings and the secrets into the folder, and prints what to do next.
def export(values, folder)
  FileUtils.mkdir_p(folder, mode: 0o700)
  settings = values.to_h do |name, value|
    next [name, value] unless SECRETS.include?(name)

    write("#{folder}/#{name}", value)
    ["#{name}_FILE", "#{folder}/#{name}"]
  end
  write("#{folder}/password-reset.json", JSON.pretty_generate(settings))
  missing = %w[DATABASE_URL EMAIL_BACKEND RESET_URL SITE_NAME].reject { |name| settings.key?(name) }
  puts "Wrote password-reset.json and the secrets into #{folder}. Only you may read them.",
       "Add to password-reset.json what is missing: #{missing.join(', ')}.",
       "Then check the settings:",
       "  export PASSWORD_RESET_CONFIG=#{"#{folder}/password-reset.json".shellescape}",
       "  password-reset check"
end

model = user_model
folder = File.expand_path(ENV["EXPORT_FOLDER"].presence || "password-reset")
exported = [database_settings(model), users_settings(model), password_settings(model), mail_settings, other_settings(model)].reduce(:merge)
# Devise's links have tokens in the database, and the service's are signed with its own key, which a second run keeps.
key = "#{folder}/SECRET_KEY"
exported["SECRET_KEY"] = File.exist?(key) ? File.read(key).chomp : SecureRandom.base64(48)
export(exported.reject { |_, value| value.nil? || value == "" }, folder)
