import ArgumentParser
import Federation
import Tensors

struct ReportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report", abstract: "Write report.html of a run anew.", discussion: "  deml report runs/mnist-mlp")

    @Argument(help: ArgumentHelp("Folder of a run.", valueName: "run"))
    var folder: String

    func run() throws {
        try CommandErrors.reported {
            let folder = RunFolder(path: Paths.resolved(self.folder, from: Paths.workingFolder))
            guard Files.exists(folder.config) else {
                throw DeMLError(.notFound, "there is no run in this folder", place: Paths.shown(folder.path))
            }
            try RunReporting.write(folder)
            Output.standard.line(Paths.shown(folder.report))
        }
    }
}
