# Answers questions about hashes: reads one JSON object from standard input and prints one.
require "json"
require "bcrypt"
require "devise"
require "devise/encryptor"

# The settings of a model with `devise :database_authenticatable`, whose valid_password? calls Encryptor.compare.
model = Struct.new(:pepper, :stretches).new(nil, 4)
questions = JSON.parse($stdin.read)
made = questions["make"].map { |password| Devise::Encryptor.digest(model, password) }
checked = questions["check"].map do |password, hash|
  # has_secure_password of Rails compares in this way.
  [Devise::Encryptor.compare(model, hash, password), BCrypt::Password.new(hash).is_password?(password)]
end
raise "Devise and bcrypt disagree" unless checked.all? { |devise, bcrypt| devise == bcrypt }
puts JSON.generate(made: made, checked: checked.map(&:first))
