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

    @Test func everyGoldenFileBelongsToACommand() throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path)
            .filter { $0.hasSuffix(".txt") }.map { String($0.dropLast(4)) }
        #expect(Set(names) == Set(Self.commands))
    }
}
