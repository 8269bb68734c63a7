import Application
import ArgumentParser
import CommandLineSupport

struct ReportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report", abstract: "Write report.html of a run anew.", discussion: "  deml report runs/mnist-mlp")

    @Argument(help: ArgumentHelp("Folder of a run.", valueName: "run"))
    var folder: String

    func run() throws {
        try CommandErrors.reported {
            let application = Application.ofThisProcess
            Output.standard.line(application.paths.shown(try application.report(folder)))
        }
    }
}
