// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMemberRegistry} from "./IMemberRegistry.sol";
import {IRoundLedger, RoundResult} from "./IRoundLedger.sol";

/// @title The money, and who has received how much of it
/// @notice Pays what a recorded result owes to each member, after the dispute window, in the chain's own coin. Money
/// leaves it in one way only: to a member's account, against a proof under the active root.
interface IRewardVault {
    /* ERRORS */

    /// @notice There is no contract at the registry's address.
    error NoRegistry(address registry);

    /// @notice The registry names another vault.
    error NotTheVault(address named);

    /// @notice The registry names another ledger.
    error NotTheLedger(address named);

    /// @notice A share of the budget has at most a million parts per million.
    error ParticipationOutOfRange(uint32 found);

    /// @notice Funding without money.
    error NothingFunded();

    /// @notice The ledger has not recorded this round.
    error RoundNotRecorded(uint64 round);

    /// @notice The ledger recorded another result of this round.
    error ResultMismatch(uint64 round, bytes32 recorded, bytes32 found);

    /// @notice Rewards after this round, or a later one, are active already. Round 0 pays nothing.
    error RoundNotNewer(uint64 active, uint64 found);

    /// @notice The dispute window of this round is open until `endsAt`, in Unix seconds.
    error DisputeWindowOpen(uint64 round, uint256 endsAt);

    /// @notice Cumulative rewards never shrink.
    error TotalDecreased(uint256 active, uint256 found);

    /// @notice The rewards exceed everything that was ever funded.
    error TotalExceedsFunds(uint256 funded, uint256 found);

    /// @notice The proof does not lead from this index and this cumulative reward to the active root.
    error InvalidProof(uint256 index, uint256 cumulativeWei);

    /// @notice The member has received this much, or more, already.
    error NothingToClaim(uint256 index, uint256 claimedWei);

    /// @notice The leaves under the active root add up to more than the total that was signed with it.
    error ClaimsExceedTotal(uint256 unclaimedWei, uint256 foundWei);

    /// @notice The member's account refused the payment.
    error PaymentFailed(address account, uint256 amountWei);

    /* EVENTS */

    /// @notice The terms of this vault, which never change.
    /// @param roundBudget Wei that one training round distributes.
    /// @param participationPpm Part of it that the round's dealers share equally, in parts per million.
    /// @param disputeWindowSeconds Time between the record of a round and the first activation of its rewards.
    event TermsAdopted(uint128 roundBudget, uint32 participationPpm, uint64 disputeWindowSeconds);

    /// @notice `from` paid `amountWei` into the pool.
    event Funded(address indexed from, uint256 amountWei);

    /// @notice Claims are paid under this root from now on.
    /// @param round The round after which these are the cumulative rewards.
    /// @param root Merkle root over (index, cumulative reward in wei).
    /// @param totalWei Sum of the cumulative rewards.
    event RootActivated(uint64 indexed round, bytes32 root, uint256 totalWei);

    /// @notice A member's account received its reward.
    /// @param index Roster index of the member.
    /// @param account Where the payment went.
    /// @param amountWei The payment.
    /// @param cumulativeWei Everything paid to this member up to now, this payment included.
    event RewardClaimed(uint256 indexed index, address account, uint256 amountWei, uint256 cumulativeWei);

    /* ACTIONS */

    /// @notice Adds the value of the call to the pool. Anyone may call it; nothing is given back.
    function fund() external payable;

    /// @notice Makes the rewards of a recorded round claimable. Anyone may call it.
    /// @param result The result that the ledger recorded, of a round newer than the active one.
    function activate(RoundResult calldata result) external;

    /// @notice Pays a member what it has not received yet. Anyone may call it; the money goes to the member's account.
    /// @dev The account may be a contract and may call back; everything is written before it is paid.
    /// @param index Roster index of the member.
    /// @param cumulativeWei Its cumulative reward under the active root.
    /// @param proof Sibling hashes from the leaf to the active root (OpenZeppelin StandardMerkleTree).
    function claim(uint256 index, uint256 cumulativeWei, bytes32[] calldata proof) external;

    /* VIEWS */

    /// @notice Version of this contract's source.
    function VERSION() external view returns (string memory);

    /// @notice The registry whose members are paid.
    function registry() external view returns (IMemberRegistry);

    /// @notice The ledger whose results are paid.
    function ledger() external view returns (IRoundLedger);

    /// @notice Wei that one training round distributes. The members compute with it; the vault only publishes it.
    function roundBudget() external view returns (uint128);

    /// @notice Part of the budget that a round's dealers share equally, in parts per million.
    function participationPpm() external view returns (uint32);

    /// @notice Time between the record of a round and the first activation of its rewards.
    function disputeWindowSeconds() external view returns (uint64);

    /// @notice Everything ever funded, in wei.
    function totalFunded() external view returns (uint128);

    /// @notice Everything ever paid out, in wei.
    function totalClaimed() external view returns (uint128);

    /// @notice The round whose rewards are active; 0 before the first activation.
    function activeRound() external view returns (uint64);

    /// @notice The Merkle root under which claims are paid; zero before the first activation.
    function activeRoot() external view returns (bytes32);

    /// @notice Sum of the cumulative rewards under the active root, in wei.
    function activeTotal() external view returns (uint128);

    /// @notice Everything ever paid to the member with roster index `index`, in wei.
    function claimedWei(uint256 index) external view returns (uint256);
}
