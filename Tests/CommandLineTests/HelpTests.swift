import ArgumentParser
import Foundation
import Testing
import deml

/// The help of every command, against the texts in `Golden/`. After a wanted change write them anew with
/// `DEML_WRITE_GOLDEN=1 swift test -c release --filter HelpTests`.
@Suite struct HelpTests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
        "Golden")

    static var commands: [String] {
        ["deml"] + Deml.configuration.subcommands.map { "deml-\($0._commandName)" }
    }

    @Test(arguments: commands) func help(command: String) throws {
        let type =
            Deml.configuration.subcommands.first { "deml-\($0._commandName)" == command } ?? Deml.self
            as any ParsableCommand.Type
        let text = Deml.helpMessage(for: type, columns: 100) + "\n"
        let file = Self.folder.appendingPathComponent("\(command).txt")
        if ProcessInfo.processInfo.environment["DEML_WRITE_GOLDEN"] != nil {
            try text.write(to: file, atomically: true, encoding: .utf8)
        }
        let golden = try String(contentsOf: file, encoding: .utf8)
        #expect(text == golden, "the help of \(command) is not what \(file.lastPathComponent) says")
    }

    /// README's table of keys holds every option of `deml train` that a file may set too, and no other.
    @Test func everyKeyStandsInTheREADME() throws {
        let root = Self.folder.appendingPathComponent("../../..")
        let readme = try String(contentsOf: root.appendingPathComponent("README.md"), encoding: .utf8)
        let table = readme.components(separatedBy: "<summary>Every key</summary>").dropFirst().first?
            .components(separatedBy: "</details>").first
        let told = Set(try #require(table).matches(of: /\n\| `([a-z0-9_]+)` \|/).map { String($0.output.1) })
        let help = try String(contentsOf: Self.folder.appendingPathComponent("deml-train.txt"), encoding: .utf8)
        var keys = Set(help.matches(of: /\n  (?:-\w, )?--([a-z0-9-]+)/).map { String($0.output.1) })
        for other in ["verbose", "worker", "resume", "json", "version", "help"] { keys.remove(other) }
        let asInFiles = keys.map { key -> String in
            if key == "on" { return "fleet" }
            return String(key.hasPrefix("no-") ? key.dropFirst(3) : key[...]).replacing("-", with: "_")
        }
        #expect(told == Set(asInFiles))
    }

    @Test func everyGoldenFileBelongsToACommand() throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path)
            .filter { $0.hasSuffix(".txt") }.map { String($0.dropLast(4)) }
        #expect(Set(names) == Set(Self.commands))
    }
}
