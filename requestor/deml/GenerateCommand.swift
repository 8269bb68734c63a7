import Application
import ArgumentParser
import CommandLineSupport
import ForeignText
import NeuralNetwork
import Tensors

struct GenerateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Use a model of text: write on from a beginning.",
        discussion: """
            The same model, prompt and options write the same text on every machine.

              deml generate --model runs/shakespeare --prompt 'ROMEO:' --tokens 500
              deml generate --model runs/shakespeare --prompt 'To be' --temperature 0.8 --top-k 10 --seed 7

            With --on a machine of a fleet writes it, one prompt being one job: the same text, of which some tokens are \
            computed again here.

              deml generate --model runs/shakespeare --prompt 'To be' --on golem
            """)

    @Option(help: ArgumentHelp("A weights file, or a run folder (its best model).", valueName: "file"))
    var model: String
    @Option(help: ArgumentHelp("What the text begins with.", valueName: "text"))
    var prompt = "\n"
    @Option(help: ArgumentHelp("How many tokens (characters or bytes) to write.", valueName: "n"))
    var tokens = 500
    @Option(
        help: ArgumentHelp(
            "Below 1 the likely becomes likelier; 0 always takes the likeliest token.", valueName: "number"))
    var temperature = 1.0
    @Option(help: ArgumentHelp("Draw among so many of the likeliest tokens. (default: all)", valueName: "n"))
    var topK: Int?
    @Option(help: ArgumentHelp("Seed of the draws.", valueName: "n"))
    var seed: UInt64 = 0
    @Option(help: ArgumentHelp("Threads. (default: one a core)", valueName: "n"))
    var threads: Int?
    @OptionGroup(title: "Other machines")
    var fleet: FleetUseOptions
    @OptionGroup(title: "Golem")
    var golem: GolemOptions

    func run() async throws {
        try await CommandErrors.reportedAsync {
            let request = GenerateRequest(
                model: model, prompt: prompt, tokens: tokens,
                sampling: .init(temperature: temperature, topK: topK, seed: seed), threads: threads)
            if let place = try fleet.place(threads: threads, golem: golem) {
                try await write(request, on: place)
            } else {
                try write(request)
            }
        }
    }

    /// By a machine of a fleet; what happens meanwhile is told on standard error.
    private func write(_ request: GenerateRequest, on place: FleetPlace) async throws {
        let display = FleetUseDisplay(output: .standardError)
        let done = try await display.run {
            try await Application.ofThisProcess.generate(request, on: place, progress: $0)
        }
        display.showEnding(done.result)
        Output.standard.write(ForeignText.lines(prompt))
        Output.standard.write(ForeignText.lines(done.text))
        Output.standard.line("")
    }

    private func write(_ request: GenerateRequest) throws {
        let application = Application.ofThisProcess
        var hasBegun = false
        _ = try application.generate(request) { piece in
            if !hasBegun { Output.standard.write(ForeignText.lines(prompt)) }
            hasBegun = true
            Output.standard.write(ForeignText.lines(piece))
            return true
        }
        Output.standard.line("")
    }
}
