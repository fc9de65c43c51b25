// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {RoundResults} from "./RoundResults.sol";
import {IMemberRegistry} from "./interfaces/IMemberRegistry.sol";
import {IRewardVault} from "./interfaces/IRewardVault.sol";
import {IRoundLedger, RoundResult} from "./interfaces/IRoundLedger.sol";

/// @title RewardVault
/// @dev What every function promises is written in IRewardVault.sol.
contract RewardVault is IRewardVault, ReentrancyGuardTransient {
    /* CONSTANTS AND IMMUTABLES */

    /// @inheritdoc IRewardVault
    string public constant VERSION = "1.0.0";

    uint32 private constant MILLION = 1_000_000;

    /// @inheritdoc IRewardVault
    IMemberRegistry public immutable registry;

    /// @inheritdoc IRewardVault
    IRoundLedger public immutable ledger;

    /// @inheritdoc IRewardVault
    uint128 public immutable roundBudget;

    /// @inheritdoc IRewardVault
    uint32 public immutable participationPpm;

    /// @inheritdoc IRewardVault
    uint64 public immutable disputeWindowSeconds;

    /* STORAGE */

    /// @inheritdoc IRewardVault
    uint64 public activeRound;

    /// @inheritdoc IRewardVault
    uint128 public totalFunded;

    /// @inheritdoc IRewardVault
    bytes32 public activeRoot;

    // The two numbers that a claim compares share a slot.
    /// @inheritdoc IRewardVault
    uint128 public activeTotal;

    /// @inheritdoc IRewardVault
    uint128 public totalClaimed;

    /// @inheritdoc IRewardVault
    mapping(uint256 index => uint256) public claimedWei;

    /* CONSTRUCTOR */

    /// @param registry_ The registry, deployed before, that names this contract's address as its vault.
    /// @param ledger_ The ledger that the same registry names.
    /// @param roundBudget_ Wei that one training round distributes.
    /// @param participationPpm_ Part of it that the round's dealers share equally, in parts per million.
    /// @param disputeWindowSeconds_ Time between the record of a round and the first activation of its rewards.
    constructor(
        IMemberRegistry registry_,
        IRoundLedger ledger_,
        uint128 roundBudget_,
        uint32 participationPpm_,
        uint64 disputeWindowSeconds_
    ) {
        if (address(registry_).code.length == 0) revert NoRegistry(address(registry_));
        address named = registry_.vault();
        if (named != address(this)) revert NotTheVault(named);
        named = registry_.ledger();
        if (named != address(ledger_)) revert NotTheLedger(named);
        if (participationPpm_ > MILLION) revert ParticipationOutOfRange(participationPpm_);
        registry = registry_;
        ledger = ledger_;
        roundBudget = roundBudget_;
        participationPpm = participationPpm_;
        disputeWindowSeconds = disputeWindowSeconds_;
        emit TermsAdopted(roundBudget_, participationPpm_, disputeWindowSeconds_);
    }

    /* ACTIONS */

    /// @inheritdoc IRewardVault
    function fund() external payable {
        if (msg.value == 0) revert NothingFunded();
        totalFunded += SafeCast.toUint128(msg.value);
        emit Funded(msg.sender, msg.value);
    }

    /// @inheritdoc IRewardVault
    function activate(RoundResult calldata result) external {
        uint64 round = result.round;
        bytes32 recorded = ledger.resultDigest(round);
        if (recorded == 0) revert RoundNotRecorded(round);
        bytes32 found = RoundResults.hash(result);
        if (found != recorded) revert ResultMismatch(round, recorded, found);
        if (round <= activeRound) revert RoundNotNewer(activeRound, round);
        uint256 endsAt = uint256(ledger.recordedAt(round)) + disputeWindowSeconds;
        if (block.timestamp < endsAt) revert DisputeWindowOpen(round, endsAt);
        uint128 total = result.rewardsTotal;
        if (total < activeTotal) revert TotalDecreased(activeTotal, total);
        if (total > totalFunded) revert TotalExceedsFunds(totalFunded, total);

        activeRound = round;
        activeRoot = result.rewards;
        activeTotal = total;
        emit RootActivated(round, result.rewards, total);
    }

    /// @inheritdoc IRewardVault
    function claim(uint256 index, uint256 cumulativeWei, bytes32[] calldata proof) external nonReentrant {
        address account = registry.accountAt(index);
        // Hashed twice, so that no inner node of the tree passes as a leaf.
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(index, cumulativeWei))));
        if (!MerkleProof.verifyCalldata(proof, activeRoot, leaf)) revert InvalidProof(index, cumulativeWei);
        uint256 claimed = claimedWei[index];
        if (cumulativeWei <= claimed) revert NothingToClaim(index, claimed);
        uint256 amountWei = cumulativeWei - claimed;
        uint256 unclaimedWei = activeTotal - totalClaimed;
        if (amountWei > unclaimedWei) revert ClaimsExceedTotal(unclaimedWei, amountWei);

        claimedWei[index] = cumulativeWei;
        totalClaimed += uint128(amountWei);
        emit RewardClaimed(index, account, amountWei, cumulativeWei);
        (bool accepted,) = account.call{value: amountWei}("");
        if (!accepted) revert PaymentFailed(account, amountWei);
    }
}
