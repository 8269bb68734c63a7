import Application
import ArgumentParser
import CommandLineSupport
import Foundation
import Reports

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
            let pages = try await Application.ofThisProcess.payments(of: runs, golem: golem.values)
            if json {
                try Output.standard.json(pages)
                return
            }
            let terminal = Terminal.current(of: STDOUT_FILENO)
            if pages.isEmpty { Output.standard.line("no run on Golem has left a ledger") }
            for page in pages {
                Output.standard.line(
                    "\(page.run): \(Figures.amount(page.paidText)) GLM accepted" + (page.note.map { " (\($0))" } ?? ""))
                let table = TextTable(
                    [
                        .init("provider", toRight: false), .init("agreement", toRight: false), .init("seconds"),
                        .init("billed"), .init("paid"), .init("state", toRight: false), .init("reason", toRight: false),
                    ],
                    rows: page.lines.map { line in
                        [
                            line.provider, String(line.agreement.prefix(8)), "\(Int(saturating: line.seconds))",
                            Figures.amount(line.billed), Figures.amount(line.paid), line.state, line.reason ?? "",
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
