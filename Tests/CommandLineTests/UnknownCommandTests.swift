import Testing
import deml

@Suite struct UnknownCommandTests {
    @Test(arguments: [
        ("trian", "train"), ("Train", "train"), ("inspec", "inspect"), ("offer", "offers"), ("hepl", "help"),
    ])
    func nearestCommandIsAskedFor(word: String, meant: String) throws {
        let error = try #require(Deml.unknownCommand(in: [word, "model.yaml"]))
        #expect(error.description.contains("there is no command '\(word)'"))
        #expect(error.description.contains("did you mean 'deml \(meant)'?"))
        #expect(error.exitCode == 64)
    }

    @Test func whatIsLikeNoneGetsTheList() throws {
        let error = try #require(Deml.unknownCommand(in: ["examples/mnist-mlp.yaml"]))
        #expect(!error.description.contains("did you mean"))
        #expect(error.description.contains("the commands are train, init,"))
    }

    @Test(arguments: [[], ["train", "trian"], ["--help"], ["--version"], ["help", "train"], ["-h"]])
    func othersAreLeftToTheParser(arguments: [String]) {
        #expect(Deml.unknownCommand(in: arguments) == nil)
    }
}
