import Application
import ArgumentParser
import CommandLineSupport
import Foundation

struct InitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "Write the settings that deml train would choose for a dataset, for editing.",
        discussion: """
              deml init wine.csv
              deml train wine.yaml
            """)

    @Argument(
        help: ArgumentHelp("A table, a folder of IDX files, .npz, .npy, safetensors, or 'mnist'.", valueName: "data"))
    var data: String
    @Option(
        name: [.long, .customShort("o")],
        help: ArgumentHelp("The file to write. (default: the data's name with .yaml; -: stdout)", valueName: "file"))
    var output: String?
    @OptionGroup(title: "How a table is read")
    var table: TableOptions
    @Option(
        help: ArgumentHelp("Part of the examples to test with, where the data has no test set.", valueName: "share"))
    var testFraction = 0.2

    func run() throws {
        try CommandErrors.reported {
            var request = DataRequest(data: data, testFraction: testFraction)
            table.set(&request)
            let answer = try Application.ofThisProcess.initialSettings(request, output: output)
            guard let file = answer.file else {
                Output.standard.write(answer.text)
                return
            }
            let paint = Paint(Terminal.current().hasColour)
            Output.standard.lines(
                DecisionText.lines(answer.decisions, paint: paint)
                    + ["", "wrote \(file): edit it, then deml train \(file)"])
        }
    }
}
