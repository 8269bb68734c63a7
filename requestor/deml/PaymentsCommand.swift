import ArgumentParser
import CommandLineSupport
import Federation
import Foundation
import GolemFleet
import Tensors

struct PaymentsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "payments",
        abstract: "Show what runs on Golem have cost: every agreement, what was billed, accepted and settled.",
        discussion: """
            Reads DeML's ledgers; when the daemon answers, what it says about each invoice is shown too.

              deml payments                    all runs
              deml payments runs/mnist-mlp     one of them
            """)

    @Argument(help: ArgumentHelp("Run folders; none: every run there is a ledger of.", valueName: "run"))
    var runs: [String] = []
    @OptionGroup(title: "Golem")
    var golem: GolemOptions
    @Flag(help: "Print JSON.")
    var json = false

    func run() async throws {
        try await CommandErrors.reportedAsync {
            let (settings, problems) = golem.settings()
            guard problems.isEmpty else { throw DeMLError(.usage, problems.joined(separator: "\n")) }
            let folders = runs.map { Paths.resolved($0, from: Paths.workingFolder) }
            for folder in folders where !Files.isDirectory(folder) {
                throw DeMLError(.notFound, "there is no such run", place: Paths.shown(folder))
            }
            let book = PaymentBook(settings: settings, environment: ProcessInfo.processInfo.environment)
            let pages = try await book.pages(of: folders)
            if json {
                try Output.standard.json(pages)
                return
            }
            let terminal = Terminal.current(of: STDOUT_FILENO)
            if pages.isEmpty { Output.standard.line("no run on Golem has left a ledger") }
            for page in pages {
                Output.standard.line(
                    "\(page.run): \(page.paidText) GLM accepted" + (page.note.map { " (\($0))" } ?? ""))
                let table = TextTable(
                    [
                        .init("provider", toRight: false), .init("agreement", toRight: false), .init("seconds"),
                        .init("billed"), .init("paid"), .init("state", toRight: false), .init("reason", toRight: false),
                    ],
                    rows: page.lines.map { line in
                        [
                            line.provider, String(line.agreement.prefix(8)), "\(Int(saturating: line.seconds))",
                            line.billed,
                            line.paid, line.state, line.reason ?? "",
                        ]
                    })
                if !page.lines.isEmpty {
                    Output.standard.lines(table.lines(paint: Paint(terminal.hasColour), width: terminal.columns))
                }
                Output.standard.line()
            }
        }
    }
}
