# Creates the table `users` with the users of `auth_user`. It reads users' keys as JSON, and prints a link for each, as [id, token].
require_relative "site"
require "json"

connection = ActiveRecord::Base.connection
ActiveRecord::Schema.verbose = false
ActiveRecord::Schema.define do
  create_table :users, force: true do |table|
    table.string :email, null: false, index: { unique: true }
    table.string :encrypted_password, null: false
    table.string :reset_password_token, index: { unique: true }
    table.datetime :reset_password_sent_at
    table.timestamps null: false
  end
end
# Not a hash of any password: nothing here verifies one.
password = "$2a$12$#{"x" * 53}"
connection.execute(<<~SQL)
  INSERT INTO users (id, email, encrypted_password, created_at, updated_at)
  SELECT id, email, '#{password}', date_joined, date_joined FROM auth_user
SQL
User.reset_column_information

links = User.transaction do
  JSON.parse($stdin.read).map do |key|
    token, digest = Devise.token_generator.generate(User, :reset_password_token)
    User.where(id: key).update_all(reset_password_token: digest, reset_password_sent_at: Time.now.utc)
    [key.to_s, token]
  end
end
puts "links: #{links.to_json}"
