import Application
import ArgumentParser
import CommandLineSupport
import Foundation
import GolemFleet
import Synchronization

struct OffersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "offers",
        abstract: "Show what is on the Golem market now, what a run could take of it, and what it would cost.",
        discussion: """
            The daemon hears of offers only while it has a demand, so on the public network wait a minute or two.

              deml offers --max-price-per-hour 0.3
              deml offers --like runs/mnist-mlp --workers 8
            """)

    @OptionGroup(title: "Golem")
    var golem: GolemOptions
    @Option(help: ArgumentHelp("How long to listen at most.", valueName: "seconds"))
    var marketTime = 60.0
    @Option(help: ArgumentHelp("Stop listening when so many usable offers were seen.", valueName: "n"))
    var enough: Int?
    @Option(help: ArgumentHelp("Machines of the run whose cost is asked. (default: 3)", valueName: "n"))
    var workers: Int?
    @Option(help: ArgumentHelp("Hours of that run. (default: 1)", valueName: "h"))
    var hours: Double?
    @Option(help: ArgumentHelp("A finished run that the one asked about is like.", valueName: "run"))
    var like: String?
    @Flag(help: "Print JSON.")
    var json = false

    func run() async throws {
        try await CommandErrors.reportedAsync { try await show() }
    }

    private func show() async throws {
        // On the error output, so that what is piped stays as it is.
        let live = ListeningLine(Terminal.current(of: STDERR_FILENO))
        defer { live.finish() }
        let listening: @Sendable (MarketSurvey.Progress) -> Void = { live.show($0) }
        let answer = try await Application.ofThisProcess.offers(
            OffersRequest(
                golem: golem.values, marketTime: marketTime, enough: enough, machines: workers, hours: hours,
                like: like),
            progress: listening)
        live.finish()
        let survey = answer.survey
        if json {
            try Output.standard.json(answer)
            return
        }
        let terminal = Terminal.current(of: STDOUT_FILENO)
        let paint = Paint(terminal.hasColour)
        Output.standard.line(
            "\(survey.offers.count) offers in subnet \(answer.settings.subnet), \(answer.settings.network)")
        var before = survey.offers.count
        for step in survey.steps {
            let lost = before - step.left
            Output.standard.line("  \(step.left) left after: \(step.filter)" + (lost > 0 ? " (\(lost) lost)" : ""))
            before = step.left
        }
        if !survey.offers.isEmpty { Output.standard.line() }
        let table = TextTable(
            [
                .init("provider", toRight: false), .init("threads"), .init("GiB"), .init("GLM/h"), .init("GLM/CPU h"),
                .init("start"), .init("GMAC/s"), .init("objection", toRight: false),
            ],
            rows: survey.offers.map { offer in
                [
                    offer.provider, "\(offer.threads)", Self.text(offer.memoryGiB), Self.text(offer.perHour),
                    Self.text(offer.perCPUHour), Self.text(offer.start), Self.text(offer.speed.map { $0 / 1e9 }),
                    offer.objection ?? "",
                ]
            })
        if !survey.offers.isEmpty { Output.standard.lines(table.lines(paint: paint, width: terminal.columns)) }
        Output.standard.line()
        if let spread = survey.spread {
            Output.standard.line(
                "price of an hour: \(Self.text(spread.least)) to \(Self.text(spread.most)) GLM, "
                    + "half of them at most \(Self.text(spread.median))")
        }
        let what = "\(RunText.counted(answer.machines, "machine")) for \(Self.text(answer.hours)) h"
        if let expected = answer.expected {
            Output.standard.line(
                "\(what): about \(Self.text(expected)) GLM, at the very most \(Self.text(answer.worst)) by your limits")
        } else {
            Output.standard.line("\(what): nobody to ask; widen the limits or wait longer (--market-time)")
            throw ExitCode(69)
        }
    }

    /// A figure of a table; a dash where there is none.
    private static func text(_ value: Double?) -> String {
        value.map {
            $0.formatted(
                .number.precision(.significantDigits(1...3)).grouping(.never).locale(Locale(identifier: "en_US")))
        } ?? "–"
    }
}

/// The line that lives while the market is listened to. Draws nothing where lines cannot live.
private final class ListeningLine: Sendable {
    private let terminal: Terminal
    private let region = Mutex(LiveRegion())

    init(_ terminal: Terminal) {
        self.terminal = terminal
    }

    func show(_ progress: MarketSurvey.Progress) {
        guard terminal.isInteractive else { return }
        let text =
            "listening for \(progress.elapsed.components.seconds) s: \(RunText.counted(progress.offers, "offer")), "
            + "\(progress.usable) of use"
        region.withLock { Output.standardError.write($0.draw([TextWidth.cut(text, to: terminal.columns - 1)])) }
    }

    func finish() {
        guard terminal.isInteractive else { return }
        region.withLock { Output.standardError.write($0.clear()) }
    }
}
