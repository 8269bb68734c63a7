extension Treasurer {
    /// Gives back what a crashed run left: activities, agreements, bills, allocations.
    func releaseLeftovers(invoiceLimit: Duration) async {
        let agreements = machine.openAgreements
        let answering = await withTaskGroup(of: (AgreementID, Bool?).self) { group in
            for id in agreements {
                group.addTask { (id, await self.endLeftover(id)) }
            }
            var answers: [AgreementID: Bool?] = [:]
            for await (id, answered) in group { answers.updateValue(answered, forKey: id) }
            return answers
        }
        for case (let id, let isAnswering?) in answering { await agreementEnded(id, providerAnswers: isAnswering) }
        await collectInvoices(within: invoiceLimit)
        await releaseOldAllocations()
    }

    /// Ends one agreement of a crashed run; returns whether its provider answers, or `nil` where our own daemon does not, and
    /// it is not known to be over.
    private func endLeftover(_ id: AgreementID) async -> Bool? {
        let known = machine.openActivities(of: id)
        let listed = (try? await client.activity.list(agreement: id)) ?? []
        for activity in Set(known + listed) {
            try? await client.activity.destroy(activity, timeout: .seconds(5))
        }
        do {
            switch try await client.market.agreement(id).state {
            case .approved:
                try await terminateLeftover(id)
                emit(RentalEvent(.leftover, "ended an agreement of an earlier run", agreementID: id))
                return true
            case .pending, .proposal:
                try await client.market.cancel(id, reason: "the requestor has started again")
                return false
            case .terminated:
                return true
            default:
                return false
            }
        } catch  where error.isOurDaemons {
            return nil
        } catch {
            emit(RentalEvent(.warning, "an agreement of an earlier run could not be ended: \(error)"))
            return false
        }
    }

    /// Where the daemon has just started, the ways to providers take a moment.
    private func terminateLeftover(_ id: AgreementID) async throws {
        for attempt in 1... {
            do {
                return try await client.market.terminate(
                    id, code: "Cancelled", message: "the requestor was interrupted and has started again")
            } catch let error as GolemError where error.code == .peer && attempt < 4 {
                try await Task.sleep(for: .seconds(2))
            }
        }
    }

    /// Handles the invoices of agreements that are over, at most for `limit`.
    private func collectInvoices(within limit: Duration) async {
        let end = ContinuousClock.now + limit
        while true {
            let awaited = Set(machine.awaitedInvoices)
            guard !awaited.isEmpty else { return }
            await handleInvoices(of: awaited)
            guard ContinuousClock.now < end, machine.awaitedInvoices.contains(where: { !unreachable.contains($0) })
            else { break }
            try? await Task.sleep(for: .milliseconds(300))
        }
        for agreement in machine.awaitedInvoices { machine.invoiceGivenUp(agreement) }
    }
}
