<?php
// Answers questions about hashes: reads one JSON object from standard input and prints one.
// The argument is the function or class to ask: php or laravel, and the algorithm: bcrypt or argon2id.
[, $framework, $algorithm] = $argv;
$options = ['rounds' => 4, 'cost' => 4, 'memory_cost' => 64, 'memory' => 64, 'time_cost' => 1, 'time' => 1, 'threads' => 1, 'verify' => true];
if ($framework === 'laravel') {
    require '/usr/share/php/Illuminate/Hashing/autoload.php';
    // With `verify`, Laravel refuses a hash of another algorithm, and of bcrypt in another version than 2y.
    $hasher = $algorithm === 'bcrypt' ? new Illuminate\Hashing\BcryptHasher($options) : new Illuminate\Hashing\Argon2IdHasher($options);
    $make = fn ($password) => $hasher->make($password);
    $check = fn ($password, $hash) => $hasher->check($password, $hash);
} else {
    $make = fn ($password) => password_hash($password, $algorithm === 'bcrypt' ? PASSWORD_BCRYPT : PASSWORD_ARGON2ID, $options);
    $check = fn ($password, $hash) => password_verify($password, $hash);
}
$questions = json_decode(stream_get_contents(STDIN), true, 512, JSON_THROW_ON_ERROR);
echo json_encode([
    'made' => array_map($make, $questions['make']),
    'checked' => array_map(fn ($pair) => $check($pair[0], $pair[1]), $questions['check']),
], JSON_THROW_ON_ERROR);
